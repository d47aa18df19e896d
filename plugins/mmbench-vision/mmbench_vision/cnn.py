"""The encoder `cnn`: small images through a few convolutions, trained from nothing."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench_vision.pixels import resized

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

    Array = np.ndarray[Any, Any]


class CNN(mb.Encoder):
    """Small convolutional network on small images, to a grid of tokens.

    z = (x - mean) / deviation of the train pixels; three stages h = relu(norm(conv_3x3(h))) of stride 2 with width/4,
    width/2 and width channels, then `layers` times h = h + dropout(relu(norm(conv_3x3(h)))); to each token of the map
    is added dropout(relu(norm(W h + b))) of the whole map, so that their mean knows what is where. Tokens
    [B, (S/8)², width], row by row: 16 for S = 32. Training shifts each image by up to S/16 pixels; `flip` mirrors half
    of them too.
    Inner layers: each stage's map as tokens.
    """

    name = "cnn"
    kind = "image"
    source = "https://doi.org/10.1109/5.726791"
    space = {
        "size": mb.Choice((24, 32, 48), default=32, stage="prepare"),
        "width": mb.Choice((32, 64, 128), default=64),
        "layers": mb.Int(0, 2, default=1),
        "dropout": mb.Float(0.0, 0.5, default=0.1),
        "flip": mb.Choice((False, True), default=False),
    }

    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """The side S, and mean and deviation [3] of the train pixels."""
        import numpy as np

        size = int(params["size"])
        pixels = np.stack([resized(image, size) for image in column]).astype(np.float32)
        deviation = pixels.std((0, 1, 2))
        return {
            "size": size,
            "mean": pixels.mean((0, 1, 2)),
            "deviation": np.where(deviation < 1, 1, deviation).astype(np.float32),
        }

    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> "dict[str, Array]":
        """{"pixels": uint8 [N, 3, S, S]}."""
        import numpy as np

        pixels = np.stack([resized(image, int(state["size"])) for image in column])
        return {"pixels": np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))}

    def augment(self, arrays: "dict[str, Tensor]", generator: "torch.Generator") -> "dict[str, Tensor]":
        """Shift each image by whole pixels; its edge is repeated."""
        import torch

        pixels = arrays["pixels"]
        count, _, size, _ = pixels.shape
        reach = size // 16
        shift = torch.randint(-reach, reach + 1, (2, count, 1), generator=generator, device=generator.device)
        rows, columns = (torch.arange(size, device=generator.device) + shift).clamp(0, size - 1).to(pixels.device)
        pixels = pixels.gather(2, rows[:, None, :, None].expand_as(pixels))
        return {**arrays, "pixels": pixels.gather(3, columns[:, None, None, :].expand_as(pixels))}

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_vision.modules import Convolutions

        chosen = {name: params[name] for name in ("width", "layers", "dropout", "flip")}
        return Convolutions(state["mean"], state["deviation"], size=int(state["size"]), **chosen)

    def summary(self, state: Mapping[str, Any], arrays: "dict[str, Array]") -> "Array":
        """[N, 192]: the image at 8 x 8 pixels, in -1..1."""
        import numpy as np

        pixels = arrays["pixels"].astype(np.float32) / 127.5 - 1
        count, channels, size, _ = pixels.shape
        blocks = pixels.reshape(count, channels, 8, size // 8, 8, size // 8)
        small: Array = blocks.mean((3, 5)).reshape(count, -1)
        return small
