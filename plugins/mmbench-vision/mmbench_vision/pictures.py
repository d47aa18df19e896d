"""What the encoders trained from nothing share: grey pictures or edges, and augmentation of one's choice."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench_vision.cnn import CNN
from mmbench_vision.pixels import resized

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    Array = np.ndarray[Any, Any]

LOOK = mb.Choice(("colour", "grey", "edges"), default="colour", stage="prepare")
AUGMENTATION: dict[str, mb.Choice | mb.Float] = {
    "flip": mb.Choice((False, True), default=False),
    "crop": mb.Float(0.0, 0.3, default=0.1, structural=True),
    "rotate": mb.Float(0.0, 30.0, default=0.0, structural=True),
}
"""In training only, each picture by itself: mirrored or not; shifted and enlarged by up to this share of its side;
turned by up to so many degrees. What comes in from outside repeats the edge."""


class Pictures(CNN):
    """Base: pixels as `cnn` has them, in colour, grey, or as edges; augmentation stands in the module."""

    on_request = True

    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """The side S, the look, and mean and deviation [3] of the train pixels."""
        import numpy as np

        shape = {"size": int(params["size"]), "look": str(params["look"])}
        pixels = self.transform(shape, column)["pixels"].astype(np.float32)
        deviation = pixels.std((0, 2, 3))
        return {
            **shape,
            "mean": pixels.mean((0, 2, 3)),
            "deviation": np.where(deviation < 1, 1, deviation).astype(np.float32),
        }

    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> "dict[str, Array]":
        """{"pixels": uint8 [N, 3, S, S]}; grey pictures and edges have three channels alike."""
        import numpy as np

        pixels = np.stack([looked(resized(image, int(state["size"])), str(state["look"])) for image in column])
        return {"pixels": np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))}

    def summary(self, state: Mapping[str, Any], arrays: "dict[str, Array]") -> "Array":
        """[N, 192]: as `cnn`, of the middle of the picture where its side is no multiple of 8."""
        pixels = arrays["pixels"]
        size = pixels.shape[-1] // 8 * 8
        first = (pixels.shape[-1] - size) // 2
        middle = pixels[:, :, first : first + size, first : first + size]
        return super().summary(state, {"pixels": middle})

    def augment(self, arrays: "dict[str, Tensor]", generator: "torch.Generator") -> "dict[str, Tensor]":
        """Nothing here: the module does it, which knows what was chosen."""
        return arrays


def looked(pixels: "Array", look: str) -> "Array":
    """uint8 [S, S, 3] as it is ("colour"), by its luminance ("grey": .299 R + .587 G + .114 B), or by the length of its
    gradient ("edges": sqrt(gx² + gy²) / 4 of the luminance by Sobel's kernels, at most 255)."""
    import numpy as np

    if look == "colour":
        return pixels
    grey = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    if look == "edges":
        p = np.pad(grey, 1, mode="edge")
        across, down = p[:, 2:] - p[:, :-2], p[2:] - p[:-2]
        gx = across[:-2] + 2 * across[1:-1] + across[2:]
        gy = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
        grey = np.minimum(np.sqrt(gx**2 + gy**2) / 4, 255)
    return np.repeat(grey.round().astype(np.uint8)[..., None], 3, axis=2)
