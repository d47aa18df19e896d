"""The contract of a compressor, as tests: inherit the class, name your part, and pytest runs it all.

from mmbench.testing.compressor import CompressorContract
from my_compressor import Mine

class TestMine(CompressorContract):
    part = Mine
"""

from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmbench.api.parts import Features, Fused
from mmbench.api.parts.compressor import Compressor
from mmbench.api.space import Params, defaults
from mmbench.engine.learn.model import Model
from mmbench.testing.rules.part import assert_describes_itself, heads, settings, tried

ROWS, CLASSES, WIDTH = 96, 3, 32
KEPT = 0.8
"""The share of its accuracy that a model keeps by the default configuration, at least."""


class CompressorContract:
    """What every compressor must hold."""

    part: ClassVar[type[Compressor]]

    def params(self) -> Params:
        """The configuration that the tests use, unless they try several."""
        return defaults(self.part.space)

    def test_describes_itself(self) -> None:
        """It has a name, a docstring and a space that makes sense."""
        assert_describes_itself(self.part)

    def test_settings(self) -> None:
        """By every configuration that the space allows a model decides all rows, with finite logits in single
        precision."""
        batch, _ = rows()
        for params in settings(self.part.space, 5):
            found = logits(self._compressed(params), batch)
            assert found.shape == (ROWS, CLASSES), f"logits {tuple(found.shape)} with {params}"
            assert found.dtype == torch.float32, f"logits are {found.dtype} with {params}: widen them"
            assert found.isfinite().all(), f"logits are not finite with {params}"

    def test_keeps_what_was_learned(self) -> None:
        """By the default configuration most of the accuracy stays."""
        batch, target = rows()
        before, after = (
            float((logits(model, batch).argmax(1) == target).float().mean())
            for model in (learned(), self._compressed(self.params()))
        )
        assert after >= KEPT * before, f"accuracy {after:.2f}, it was {before:.2f}"

    def test_rows_do_not_matter_to_each_other(self) -> None:
        """What is decided of a row depends on no other in its batch."""
        batch, _ = rows()
        model = self._compressed(self.params())
        alone = logits(model, {m: {name: a[:7] for name, a in arrays.items()} for m, arrays in batch.items()})
        torch.testing.assert_close(logits(model, batch)[:7], alone, rtol=0.05, atol=0.05)

    def test_same_again(self) -> None:
        """The same model and configuration give the same, whatever torch would draw next."""
        batch, _ = rows()
        one, other = (logits(self._compressed(self.params(), seed=seed), batch) for seed in range(2))
        assert torch.equal(one, other), "two compressions differ: draw from a generator of your own"

    def test_has_weights(self) -> None:
        """What it gives has the model's parts, whose weights can be counted."""
        model: Any = self._compressed(self.params())
        assert set(model.encoders) == {"left", "right"}, "an encoder is gone"
        assert sum(t.numel() for t in [*model.parameters(), *model.buffers()]) > 0, "it has no weights"

    def _compressed(self, params: Params, seed: int = 0) -> Any:
        model, part = learned(), self.part()
        torch.manual_seed(seed)
        with torch.no_grad():
            found: Any = part.compress(model, params)
        if epochs := part.epochs(params):
            _train(found, steps=10 * epochs)
        return found.eval()


class Encoder(nn.Module):
    """[B, D] -> features [B, 1, WIDTH], by a layer, a normalisation and a nonlinearity."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, WIDTH), nn.LayerNorm(WIDTH), nn.GELU(), nn.Dropout(0.1))

    def forward(self, arrays: dict[str, Tensor]) -> Features:
        return Features(self.net(arrays["values"]).unsqueeze(1))


class Concat(nn.Module):
    """Pooled features end to end, then a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, features: dict[str, Features]) -> Tensor:
        return self.net(torch.cat([f.tokens.mean(1) for f in features.values()], dim=1))  # type: ignore[no-any-return]


def logits(model: Any, batch: Any) -> Tensor:
    """[ROWS, CLASSES], as the engine asks a model for them."""
    with torch.no_grad():
        fused: Fused = model.fuse(model.encode(batch))
    assert fused.logits is not None
    return fused.logits


def rows() -> tuple[dict[str, dict[str, Tensor]], Tensor]:
    """Two views of each row, whose sum says its class; and the classes."""
    generator = torch.Generator().manual_seed(3)
    target = torch.arange(ROWS) % CLASSES
    centres = 2 * torch.randn(CLASSES, 8, generator=generator)
    left = centres[target] + torch.randn(ROWS, 8, generator=generator)
    right = centres[target].flip(1) + torch.randn(ROWS, 8, generator=generator)
    return {"left": {"values": left}, "right": {"values": right}}, target


@cache
def _weights() -> dict[str, Tensor]:
    """Of a model that has learned to tell the rows of `rows` apart."""
    model = _untrained()
    _train(model, steps=60)
    return {name: value.clone() for name, value in model.state_dict().items()}


def _train(model: Any, steps: int) -> None:
    batch, target = rows()
    optimizer = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        fused = model.fuse(model.encode(batch))
        model.head.loss(fused, target).backward()
        optimizer.step()


def learned() -> Model:
    """A trained model, to be changed."""
    model = _untrained()
    model.load_state_dict(_weights())
    return model.eval()


def _untrained() -> Model:
    torch.manual_seed(0)
    head = heads()["label"]
    state, _ = tried(head, ("left", "right"), ROWS)
    state = {**state, "outputs": CLASSES}
    decider = head.build(state, WIDTH, 0.0, defaults(head.space))
    return Model({"left": Encoder(), "right": Encoder()}, Concat(), decider)
