"""The encoder type `hf_image`: pictures through a vision model of the hub."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench.errors import DataError, told
from mmbench_hf.encoder import JOINT, HubEncoder
from mmbench_hf.place import PREPROCESSOR

if TYPE_CHECKING:
    from mmbench_hf.encoder import Array
    from mmbench_hf.modules import Network


class HubImage(HubEncoder):
    """A vision model of the hub, frozen or tuned, then one learned projection.

    x = the picture, resized, cropped and normalised as the model's own preprocessor says, by Pillow. s = the model's
    last hidden states, [B, T, D], a convolutional network's maps cell by cell; then as all models of the hub: see
    docs/guides/your-models.md.
    """

    kind = "image"
    needed = PREPROCESSOR

    def arrays(self, state: Mapping[str, Any], column: Sequence[Any]) -> "dict[str, Array]":
        """{"pixels": uint8 [N, 3, H, W]}, resized and cropped; the module scales and normalises them."""
        return {"pixels": pixels(self.folder, column)}

    def network(self, folder: Path, tokens: str) -> "Network":
        from mmbench_hf.readers import Image

        return Image(folder, processor(folder), tokens=tokens)

    def blank(self, state: Mapping[str, Any]) -> Any:
        from PIL import Image

        return Image.new("RGB", (64, 64))


class ClipImage(HubImage):
    """The image half of a model of images and texts, as CLIP, frozen or tuned, then one learned projection.

    f = the picture's vector in the space that it shares with texts, [B, D]; else as models of pictures: see
    docs/guides/your-models.md.
    """

    space = {**HubImage.space, "tokens": JOINT}


def pixels(folder: Path, pictures: Sequence[Any]) -> "Array":
    """uint8 [N, 3, H, W]. Raises DataError if they come out in several sizes."""
    import numpy as np

    found = [
        np.asarray(processor(folder)(one, do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"][0])
        for one in pictures
    ]
    sizes = sorted({array.shape for array in found})
    if len(sizes) > 1:
        raise DataError(
            f"the preprocessor in {folder.name!r} gives pictures of several sizes, such as {sizes[0]} and {sizes[-1]}"
        )
    return np.stack(found).astype(np.uint8)


@lru_cache(maxsize=4)
def processor(folder: Path) -> Any:
    """The model's own preprocessor, as Pillow and NumPy compute it."""
    from transformers import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(folder, backend="pil", trust_remote_code=False, local_files_only=True)
    except Exception as error:  # whatever the files make of it
        raise DataError(f"the preprocessor in {folder.name!r} can't be read: {told(error)[:300]}") from error
