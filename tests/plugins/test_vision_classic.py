"""Image encoders trained from nothing: preparation against Pillow and a plain loop, networks against torch's layers."""

from typing import Any

import numpy as np
import pytest
import torch
from mmbench_vision.classic import ConvConvPool, LeNet, ResNet18, ResNet50, ViT
from mmbench_vision.classics import Attention, Block, moved
from mmbench_vision.pictures import looked
from PIL import Image
from torch import nn

import mmbench as mb
from mmbench.api.space import defaults
from mmbench.testing.encoder import EncoderContract


class TestLeNet(EncoderContract):
    part = LeNet
    configurations = 2


@pytest.mark.slow
class TestConvConvPool(EncoderContract):
    part = ConvConvPool
    configurations = 2


class Narrow(ResNet18):
    """ResNet-18 with few channels.

    So that its contract is short."""

    space = {**ResNet18.space, "width": mb.Choice((8,), default=8)}


@pytest.mark.slow
class TestResNet18(EncoderContract):
    part = Narrow
    configurations = 1


@pytest.mark.slow
class TestResNet50(EncoderContract):
    part = ResNet50
    configurations = 1


@pytest.mark.slow
class TestViT(EncoderContract):
    part = ViT
    configurations = 2


def test_grey_is_that_of_pillow_and_edges_are_those_of_sobel() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    grey = looked(pixels, "grey")[..., 0].astype(int)
    assert np.abs(grey - np.asarray(Image.fromarray(pixels).convert("L")).astype(int)).max() <= 1
    exact = pixels.astype(float) @ [0.299, 0.587, 0.114]
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    edges = looked(pixels, "edges")[..., 0]
    for row in range(1, 8):
        for column in range(1, 8):
            window = exact[row - 1 : row + 2, column - 1 : column + 2]
            length = np.hypot((window * kernel).sum(), (window * kernel.T).sum()) / 4
            assert abs(float(edges[row, column]) - min(length, 255)) < 0.51


def test_a_side_that_is_no_multiple_of_8_has_a_summary() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 28, 28), dtype=np.uint8)
    found = ConvConvPool().summary({}, {"pixels": pixels}).reshape(2, 3, 8, 8)
    assert found[1, 2, 0, 7] == pytest.approx(pixels[1, 2, 2:5, 23:26].mean() / 127.5 - 1, abs=1e-5)


def test_a_picture_is_moved_only_as_far_as_was_asked() -> None:
    torch.manual_seed(0)
    pixels = torch.rand(40, 3, 8, 8)
    torch.testing.assert_close(moved(pixels, flip=False, crop=0.0, rotate=0.0), pixels, rtol=1e-4, atol=1e-5)
    mirrored = moved(pixels, flip=True, crop=0.0, rotate=0.0)
    same = [bool(torch.allclose(one, two, atol=1e-4)) for one, two in zip(mirrored, pixels, strict=True)]
    turned = [bool(torch.allclose(one, two.flip(-1), atol=1e-4)) for one, two in zip(mirrored, pixels, strict=True)]
    assert all(one != two for one, two in zip(same, turned, strict=True))
    assert 8 < sum(turned) < 32


@pytest.mark.parametrize(("part", "weights"), [(ResNet18, 11_160_000), (ResNet50, 23_450_000)])
def test_as_many_weights_as_the_published_network(part: type[ResNet18], weights: int) -> None:
    """11.69 and 25.56 million with their 1,000 classes and a first layer of 7 x 7; without, these."""
    state = {"mean": np.zeros(3), "deviation": np.ones(3), "size": 32}
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "as_tensor", lambda value, dtype: torch.zeros(len(value), dtype=dtype))
        module = part().build(state, {**defaults(part.space, "build"), "width": 64})
    assert sum(p.numel() for p in module.parameters()) == pytest.approx(weights, rel=0.005)


def test_a_residual_block_is_its_equation() -> None:
    torch.manual_seed(0)
    block, x = Block(8, 8, stride=1, widen=1), torch.randn(2, 8, 5, 5)
    way: Any = block.way
    first, _, _, second, _ = way
    hidden = torch.relu(nn.functional.group_norm(nn.functional.conv2d(x, first.weight, padding=1), 1))
    hidden = nn.functional.group_norm(nn.functional.conv2d(hidden, second.weight, padding=1), 1)
    torch.testing.assert_close(block(x), torch.relu(x + hidden), rtol=1e-4, atol=1e-5)


def test_a_vision_block_is_that_of_torch() -> None:
    torch.manual_seed(0)
    block, x = Attention(8, 0.0).eval(), torch.randn(3, 5, 8)
    torchs = nn.MultiheadAttention(8, 4, batch_first=True)
    with torch.no_grad():
        torchs.in_proj_weight.copy_(torch.cat([block.query.weight, block.key.weight, block.value.weight]))
        torchs.in_proj_bias.copy_(torch.cat([block.query.bias, torch.zeros(8), block.value.bias]))
    torchs.out_proj.load_state_dict(block.out.state_dict())
    normed = nn.functional.layer_norm(x, (8,))
    hidden = x + torchs(normed, normed, normed)[0]
    torch.testing.assert_close(block(x), hidden + block.inner(nn.functional.layer_norm(hidden, (8,))))


def test_patches_are_cut_as_they_lie() -> None:
    state = {"mean": np.zeros(3), "deviation": np.ones(3), "size": 32}
    module: Any = ViT().build(state, {**defaults(ViT.space, "build"), "layers": 1, "width": 32}).eval()
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    seen = []
    module.dense.register_forward_hook(lambda _, given, made: seen.append(given[0]))
    module({"pixels": pixels})
    torch.testing.assert_close(seen[0][1, 9], pixels[1, :, 4:8, 4:8].float().flatten())
