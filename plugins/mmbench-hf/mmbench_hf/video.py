"""The encoder type `hf_video`: clips through a video model of the hub, or frame by frame through one of pictures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench_hf.encoder import HubEncoder
from mmbench_hf.image import pixels, processor
from mmbench_hf.place import PREPROCESSOR

if TYPE_CHECKING:
    from mmbench_hf.encoder import Array
    from mmbench_hf.modules import Network


class HubVideo(HubEncoder):
    """A video or vision model of the hub, frozen or tuned, then one learned projection.

    x = frames at even distances, as many as a video model wants, or `frames` for a model of pictures, each as the
    model's own preprocessor says. s = the video model's last hidden states, [B, T, D], or for each frame the mean of
    those of the model of pictures, [B, frames, D]; then as all models of the hub: see docs/guides/your-models.md.
    """

    kind = "video"
    needed = PREPROCESSOR
    batch = 2
    space = {**HubEncoder.space, "frames": mb.Int(2, 32, default=8, stage="prepare", within=(1, 1024))}

    def settle(self, folder: Path, params: Mapping[str, Any]) -> dict[str, Any]:
        """A video model says itself how many frames it reads."""
        told = json.loads((folder / "config.json").read_text()).get("num_frames")
        return {"frames": int(told or params["frames"])}

    def arrays(self, state: Mapping[str, Any], column: Sequence[Any]) -> "dict[str, Array]":
        """{"frames": uint8 [N, F, 3, H, W]}; a clip that has fewer shows some twice."""
        import numpy as np
        from PIL import Image

        count = int(state["frames"])
        clips = []
        for clip in column:
            chosen = np.linspace(0, len(clip) - 1, count).round().astype(int)
            clips.append(pixels(self.folder, [Image.fromarray(np.asarray(clip[at])) for at in chosen]))
        return {"frames": np.stack(clips)}

    def network(self, folder: Path, tokens: str) -> "Network":
        from mmbench_hf.readers import Video

        return Video(folder, processor(folder), tokens=tokens)

    def blank(self, state: Mapping[str, Any]) -> Any:
        import numpy as np

        return np.zeros((1, 64, 64, 3), np.uint8)
