"""The encoders `lenet`, `conv_conv_pool`, `resnet18`, `resnet50` and `vit`, trained from nothing."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench_vision.pictures import AUGMENTATION, LOOK, Pictures

if TYPE_CHECKING:
    from torch import nn


class LeNet(Pictures):
    """LeNet-5: two convolutions, each pooled, and two dense layers to one token [B, 1, 84].

    h = pool_2(relu(conv_5x5(h))) with 6, then 16 channels; 120 and 84 dense, relu. Differs from the paper: ReLU and
    maxima in place of tanh and weighed means, all channels joined. Inner layers: both maps.
    """

    name = "lenet"
    source = "https://doi.org/10.1109/5.726791"
    space = {
        "size": mb.Choice((28, 32, 48), default=32, stage="prepare"),
        "look": LOOK,
        "dropout": mb.Float(0.0, 0.5, default=0.0),
        **AUGMENTATION,
    }

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_vision.classics import LeNet as Network

        return Network(state, params)


class ConvConvPool(Pictures):
    """Two 3 x 3 convolutions of 32 and 64 channels, maxima of 2 x 2, and a dense layer to one token [B, 1, width].

    h = relu(conv(h)), twice, without padding; token = relu(W dropout(pool_2(h)) + b): the network of Keras's example
    on MNIST. Inner layers: the pooled map.
    """

    name = "conv_conv_pool"
    source = "https://doi.org/10.1109/5.726791"
    space = {
        "size": mb.Choice((24, 28, 32), default=28, stage="prepare"),
        "look": LOOK,
        "width": mb.Choice((32, 64, 128), default=128),
        "dropout": mb.Float(0.0, 0.5, default=0.25),
        **AUGMENTATION,
    }

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_vision.classics import ConvConvPool as Network

        return Network(state, params)


class ResNet18(Pictures):
    """ResNet-18 from nothing, to a grid of tokens [B, (S/8)², 8 width].

    h = relu(f(h) + skip(h)), f two 3 x 3 convolutions; stages of 2, 2, 2, 2 such blocks with 1, 2, 4 and 8 times
    `width` channels, the last three of stride 2. Differs from the paper: for small pictures, a 3 x 3 convolution
    without stride at first; group norms, so that a batch of one trains; 64 channels at first are `width` = 64.
    Inner layers: each stage's map.
    """

    name = "resnet18"
    source = "https://arxiv.org/abs/1512.03385"
    space = {
        "size": mb.Choice((24, 32, 48, 64), default=32, stage="prepare"),
        "look": LOOK,
        "width": mb.Choice((8, 16, 32, 64), default=16),
        "dropout": mb.Float(0.0, 0.5, default=0.0),
        **AUGMENTATION,
    }

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_vision.classics import ResNet

        return ResNet(state, params, blocks=(2, 2, 2, 2), widen=1)


class ResNet50(ResNet18):
    """ResNet-50 from nothing, to a grid of tokens [B, (S/8)², 32 width].

    As `resnet18`, with bottlenecks: f is a 1 x 1, a 3 x 3 and a 1 x 1 convolution, the last four times as wide; stages
    of 3, 4, 6, 3 of them. The stride lies in the 3 x 3 one, as in most code since.
    """

    name = "resnet50"

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_vision.classics import ResNet

        return ResNet(state, params, blocks=(3, 4, 6, 3), widen=4)


class ViT(Pictures):
    """Small vision Transformer from nothing, a token a patch, [B, (S / patch)², width].

    h_0 = W patch + b + place; `layers` times h = h + attention(norm(h)), h = h + V gelu(W norm(h)), 4 `width` inside;
    token = norm(h). Differs from the paper: no class token, as a mean does as well (2205.01580); keys without bias.
    Inner layers: h after each block.
    """

    name = "vit"
    source = "https://arxiv.org/abs/2010.11929"
    space = {
        "size": mb.Choice((32, 48, 64), default=32, stage="prepare"),
        "look": LOOK,
        "patch": mb.Choice((4, 8), default=4),
        "width": mb.Choice((32, 64, 128), default=64),
        "layers": mb.Int(1, 6, default=3),
        "dropout": mb.Float(0.0, 0.5, default=0.1),
        **AUGMENTATION,
    }

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_vision.classics import ViT as Network

        return Network(state, params)
