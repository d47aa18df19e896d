"""The network EfficientNet-lite0 (Tan and Le 2019, without squeeze-and-excitation, with ReLU6), for inference.

Names of its parts are those of the published weights. `pretrained` folds each batch normalisation into the convolution
before it: w' = w g / sqrt(v + e), b' = b - m g / sqrt(v + e); the outputs stay the same but for rounding.
"""

import io
import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

# repeats, kernel, stride, expansion, channels in, channels out
BLOCKS = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
EPSILON = 1e-3
LEVELS = (2, 4, 7, 10, 15)
"""The last block of each size and width that are kept: all but the first, and the one before the last."""


class SamePadded(nn.Conv2d):
    """A convolution padded as TensorFlow does: ceil(side / stride) outputs, the odd pixel of padding at the end."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        sides = (x.shape[3], x.shape[2])
        total = [max((math.ceil(side / stride) - 1) * stride + kernel - side, 0) for side in sides]
        if total[0] == total[1] and total[0] % 2 == 0:  # the convolution pads by itself, without a copy
            even = total[0] // 2
            return F.conv2d(x, self.weight, self.bias, self.stride, even, self.dilation, self.groups)
        x = F.pad(x, [part for whole in total for part in (whole // 2, whole - whole // 2)])
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class Block(nn.Module):
    """Inverted bottleneck: widen, filter each channel, narrow; added to its input where the shapes agree."""

    def __init__(self, kernel: int, stride: int, expansion: int, before: int, after: int):
        super().__init__()
        inner = before * expansion
        self.expands, self.skips = expansion != 1, stride == 1 and before == after
        if self.expands:
            self._expand_conv = SamePadded(before, inner, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(inner, eps=EPSILON)
        self._depthwise_conv = SamePadded(inner, inner, kernel, stride=stride, groups=inner, bias=False)
        self._bn1 = nn.BatchNorm2d(inner, eps=EPSILON)
        self._project_conv = SamePadded(inner, after, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(after, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        hidden = F.relu6(self._bn1(self._depthwise_conv(hidden)))
        hidden = cast(Tensor, self._bn2(self._project_conv(hidden)))
        return hidden + x if self.skips else hidden


class EfficientNetLite0(nn.Module):
    """[B, 3, S, S], scaled to about -1..1, to maps [B, 1280, ceil(S / 32), ceil(S / 32)]; `levels` stops before."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SamePadded(3, 32, 3, stride=2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=EPSILON)
        self._blocks = nn.ModuleList(
            Block(kernel, stride if repeat == 0 else 1, expansion, before if repeat == 0 else after, after)
            for repeats, kernel, stride, expansion, before, after in BLOCKS
            for repeat in range(repeats)
        )
        self._conv_head = SamePadded(320, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, eps=EPSILON)
        self._fc = nn.Linear(1280, 1000)  # ImageNet's classes: in the weights, not used

    def levels(self, x: Tensor) -> list[Tensor]:
        """The maps of LEVELS: [B, c, s, s] with c = 24, 40, 80, 112, 320 and s = S / 4, 8, 16, 16, 32."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        maps = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in LEVELS:
                maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(self._bn1(self._conv_head(self.levels(x)[-1])))


def pretrained(weights: bytes) -> EfficientNetLite0:
    """The network with the published weights (a state dict), in evaluation mode, its normalisations folded."""
    with torch.random.fork_rng(devices=[]):  # its first weights are drawn at random, which must not show elsewhere
        network = EfficientNetLite0().eval()
    network.load_state_dict(torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True), strict=True)
    pairs = (("_conv_stem", "_bn0"), ("_conv_head", "_bn1"))
    inner = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
    for module, names in ((network, pairs), *((block, inner) for block in network._blocks)):
        for convolution, normalisation in names:
            if hasattr(module, convolution):
                folded = fuse_conv_bn_eval(getattr(module, convolution), getattr(module, normalisation))
                setattr(module, convolution, folded)
                setattr(module, normalisation, nn.Identity())
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
