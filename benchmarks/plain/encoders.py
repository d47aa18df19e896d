"""The encoders of the plain search script: mmbench's layers as a user would write them for rows that are all there."""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VIEWS = {"fou": 76, "mor": 6, "zer": 47}
IMAGE, TEXT = 576, 384
"""How many numbers EfficientNet-lite0 and MiniLM give a row."""
ARRAYS = {
    "uci_mfeat": tuple(f"{view}.cells" for view in VIEWS),
    "emoji_group": ("image.features", "text.features"),
    "emoji_group, frozen": ("image.pixels", "text.pieces", "text.mask"),
    "av_digits": ("image.pixels", "audio.frames", "audio.mask"),
}
"""{data set: the arrays that its model takes, in order}"""


class Perceptron(nn.Sequential):
    """[B, inputs] to [B, width]."""

    def __init__(self, inputs: int, width: int, layers: int, dropout: float):
        stages: list[nn.Module] = []
        for layer in range(layers):
            linear = nn.Linear(width if layer else inputs, width)
            stages += [linear, nn.LayerNorm(width), nn.ReLU(), nn.Dropout(dropout)]
        super().__init__(*stages)


class Projection(nn.Sequential):
    """[B, inputs] to [B, width]."""

    def __init__(self, inputs: int, width: int, dropout: float):
        super().__init__(nn.LayerNorm(inputs, elementwise_affine=False), nn.Dropout(dropout), nn.Linear(inputs, width))


class Pictures(nn.Module):
    """Pixels uint8 [B, 3, S, S] to [B, width]: strided stages, residual ones, the mean of the map and a dense layer."""

    def __init__(self, width: int, layers: int, dropout: float, *, flip: bool, size: int = 32):
        super().__init__()
        widths = (3, width // 4, width // 2, width)
        self.stages = nn.Sequential(*(_stage(widths[i], widths[i + 1], 2) for i in range(3)))
        self.residual = nn.ModuleList(_stage(width, width, 1) for _ in range(layers))
        self.dense = nn.Sequential(
            nn.Flatten(), nn.Linear((size // 8) ** 2 * width, width), nn.LayerNorm(width), nn.ReLU()
        )
        self.dropout, self.flip = nn.Dropout(dropout), flip

    def forward(self, pixels: Tensor) -> Tensor:
        image = pixels.float() / 127.5 - 1
        if self.flip and self.training:
            image = torch.where(torch.rand(len(image), 1, 1, 1) < 0.5, image.flip(-1), image)
        image = self.stages(image)
        for stage in self.residual:
            image = image + self.dropout(stage(image))
        found: Tensor = image.mean((2, 3)) + self.dropout(self.dense(image))
        return found


class Sounds(nn.Module):
    """Frames [B, T, bands] with their mask [B, T] to [B, width]: two convolutions, all bands of a step, the mean."""

    def __init__(self, width: int, dropout: float, *, bands: int = 40, length: int = 64):
        super().__init__()
        self.first = nn.Conv2d(1, width // 4, 3, stride=2, padding=1)
        self.second = nn.Conv2d(width // 4, width // 2, 3, stride=2, padding=1)
        self.dense = nn.Linear(-(-bands // 4) * (width // 2), width)
        self.places = nn.Parameter(torch.randn(length // 4, width) / width**0.5)
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        picture = torch.relu(self.second(torch.relu(self.first(frames.unsqueeze(1)))))
        joined = self.dense(picture.transpose(1, 2).flatten(2))
        tokens = self.dropout(torch.relu(self.norm(joined + self.places[: joined.shape[1]])))
        there = mask.unflatten(1, (-1, 4)).any(-1).unsqueeze(-1)
        found: Tensor = (tokens * there).sum(1) / there.sum(1)
        return found


@cache
def _frozen_image() -> nn.Module:
    from mmbench_vision.efficientnet import MEMBER, WEIGHTS
    from mmbench_vision.lite0 import pretrained

    return pretrained(WEIGHTS.read(MEMBER)).requires_grad_(False)


@cache
def _frozen_text() -> nn.Module:
    from mmbench_text.bert import pretrained
    from mmbench_text.minilm import FOLDER, MEMBERS, WEIGHTS

    return pretrained(WEIGHTS.extract(MEMBERS) / FOLDER / "model.safetensors").requires_grad_(False)


class FrozenImage(nn.Module):
    """EfficientNet-lite0 on pixels uint8 [B, S, S, 3], then what is learned on it. Its weights are read once."""

    def __init__(self, learned: nn.Module):
        super().__init__()
        self.network: Any = _frozen_image()
        self.learned = learned

    def forward(self, pixels: Tensor) -> Tensor:
        self.network.eval()
        with torch.no_grad():
            maps = self.network.levels((pixels.permute(0, 3, 1, 2).float() - 127) / 128)
            features = torch.cat([F.adaptive_avg_pool2d(found, 1).flatten(1) for found in maps], dim=1)
        vector: Tensor = self.learned(features)
        return vector


class FrozenText(nn.Module):
    """MiniLM on padded word pieces [B, T] with their mask, the mean of its states, then what is learned on it."""

    def __init__(self, learned: nn.Module):
        super().__init__()
        self.network: Any = _frozen_text()
        self.learned = learned

    def forward(self, pieces: Tensor, mask: Tensor) -> Tensor:
        self.network.eval()
        longest = int(mask.sum(1).max())
        with torch.no_grad():
            states = self._states(pieces[:, :longest], mask[:, :longest])
            there = mask[:, :longest, None]
            features = (states * there).sum(1) / there.sum(1)
        vector: Tensor = self.learned(features)
        return vector

    def _states(self, pieces: Tensor, mask: Tensor) -> Tensor:
        x: Tensor = self.network.embeddings(pieces)
        for layer in self.network.encoder["layer"]:
            attention = layer.attention
            query, key, value = [
                project(x).unflatten(-1, (12, -1)).transpose(1, 2) for project in attention.self.values()
            ]
            found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
            x = attention.output(found.transpose(1, 2).flatten(2), x)
            x = layer.output(F.gelu(layer.intermediate["dense"](x)), x)
        return x


def moved(tensors: list[Tensor]) -> list[Tensor]:
    """Pictures moved by up to 2 pixels, sounds by up to 3 frames and bands, a batch at once; edges are repeated."""
    pixels, frames, mask = tensors
    sides = (*pixels.shape[2:], *frames.shape[1:])
    reaches = zip(sides, (2, 2, 3, 3), strict=True)
    down, right, later, higher = (_places(length, reach, len(pixels)) for length, reach in reaches)
    pixels = pixels.gather(2, down[:, None, :, None].expand_as(pixels))
    pixels = pixels.gather(3, right[:, None, None, :].expand_as(pixels))
    frames = frames.gather(1, later.unsqueeze(2).expand_as(frames))
    return [pixels, frames.gather(2, higher.unsqueeze(1).expand_as(frames)), mask.gather(1, later)]


CHANGES = {"av_digits": moved}
"""{data set: what training does to its batches}"""


def _places(length: int, reach: int, rows: int) -> Tensor:
    return (torch.arange(length) + torch.randint(-reach, reach + 1, (rows, 1))).clamp(0, length - 1)


def _stage(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False), nn.GroupNorm(1, after), nn.ReLU()
    )
