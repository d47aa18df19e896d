import io

import numpy as np
import pytest
import torch
from mmbench_vision.efficientnet import MEMBER, WEIGHTS, EfficientNetLite0
from mmbench_vision.lite0 import EfficientNetLite0 as Network
from mmbench_vision.lite0 import SamePadded, pretrained
from torch import nn

from mmbench.testing.encoder import EncoderContract
from mmbench.testing.rules.columns import ordinary


class TestEfficientNetLite0(EncoderContract):
    part = EfficientNetLite0
    rows = 6
    configurations = 2


def test_every_published_weight_has_its_place_and_folding_changes_nothing() -> None:
    published = torch.load(io.BytesIO(WEIGHTS.read(MEMBER)), weights_only=True)
    network = Network().eval()
    network.load_state_dict(published, strict=True)
    folded = pretrained(WEIGHTS.read(MEMBER))
    assert not [module for module in folded.modules() if isinstance(module, nn.BatchNorm2d)]
    images = torch.randn(2, 3, 70, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole, fast = network(images), folded(images)
    assert whole.shape == (2, 1280, 3, 2)
    torch.testing.assert_close(fast, whole, rtol=1e-3, atol=1e-4)


def test_the_network_knows_a_picture() -> None:
    """The weights see only if every stride, padding and skip is right: a red disc is a ping-pong ball to ImageNet."""
    row, column = np.mgrid[-1:1:224j, -1:1:224j]
    disc = np.where((row**2 + column**2 < 0.4)[..., None], (200, 40, 20), 255).astype(np.float32)
    network = pretrained(WEIGHTS.read(MEMBER))
    with torch.inference_mode():
        maps = network((torch.from_numpy(disc).permute(2, 0, 1)[None] - 127) / 128)
        chances = network._fc(maps.mean((2, 3))).softmax(1)[0]
    assert int(chances.argmax()) == 722
    assert chances.max() > 0.3


def test_padding_is_tensorflows() -> None:
    """SAME padding of an even side by stride 2 puts the odd pixel at the end: the first window starts at pixel 0."""
    layer = SamePadded(1, 1, 3, stride=2, bias=False)
    nn.init.ones_(layer.weight)
    image = torch.arange(16.0).view(1, 1, 4, 4)
    expected = nn.functional.conv2d(nn.functional.pad(image, (0, 1, 0, 1)), layer.weight, stride=2)
    torch.testing.assert_close(layer(image), expected)
    assert SamePadded(1, 1, 5, stride=2)(torch.ones(1, 1, 7, 7)).shape[-2:] == (4, 4)


@pytest.mark.parametrize(("features", "width"), [("levels", 576), ("head", 1280)])
def test_a_grid_holds_the_mean_of_each_quarter(features: str, width: int) -> None:
    images = ordinary("image", 2)
    one, four = (
        EfficientNetLite0().transform({"features": features, "size": 128, "grid": grid}, images)["features"]
        for grid in (1, 2)
    )
    assert one.shape == (2, width)
    assert four.shape == (2, 4, width)
    np.testing.assert_allclose(four.mean(1), one, rtol=1e-3, atol=1e-4)
