"""Parts that learn from what they are judged by, or that look who calls them."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmbench.api.parts import Features
from mmbench.engine.jobs import measure as measuring
from mmbench.engine.jobs.evaluate import Predictions, refits, schedule
from mmbench.engine.learn.cohort import NoCohortError
from mmbench.engine.space import default_params
from mmbench.errors import TrainingError
from tests.engine.members import WIDTH, Plain, alone, together
from tests.engine.test_search import BUDGET, CATALOG, go, workspace


class Learns(Plain):
    """Takes the mean of what it predicts from it, in a buffer."""

    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.register_buffer("mean", torch.zeros(WIDTH))

    def change(self, x: Tensor) -> Tensor:
        if not self.training:
            self.note(x.mean(0))
        return x - self.get_buffer("mean")

    def note(self, mean: Tensor) -> None:
        self.get_buffer("mean").mul_(0.9).add_(0.1 * mean)


class Replaces(Learns):
    def note(self, mean: Tensor) -> None:
        self.mean = mean


class WritesPast(Learns):
    """Torch counts changes of a tensor, but not these."""

    def note(self, mean: Tensor) -> None:
        self.get_buffer("mean").data.lerp_(mean, 0.1)


class Moves(Plain):
    """Changes what learns."""

    def change(self, x: Tensor) -> Tensor:
        if not self.training:
            with torch.no_grad():
                self.out.bias.add_(1e-3)
        return x


@pytest.mark.parametrize("kind", [Learns, Replaces, WritesPast, Moves])
def test_validation_leaves_the_model_as_it_was(kind: Callable[[int], nn.Module]) -> None:
    with pytest.raises(TrainingError, match=r"evaluation changes fusion\.(mean|out\.bias)"):
        alone(kind)


@pytest.mark.parametrize("kind", [Learns, Replaces, WritesPast])
def test_a_cohort_that_validation_changes_is_refused(kind: Callable[[int], nn.Module]) -> None:
    with pytest.raises((NoCohortError, RuntimeError), match=r"evaluation changes|vmap"):
        together(kind)


class Joined(nn.Module):
    def __init__(self, inputs: Mapping[str, Any], width: int) -> None:
        super().__init__()
        self.out = nn.Linear(sum(spec.width for spec in inputs.values()), width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        found: Tensor = self.out(torch.cat([features[m].pooled for m in sorted(features)], 1))
        return found


class Hoards(Joined):
    """Keeps what it saw of validation where no weights are stored, and uses it ever after."""

    def __init__(self, inputs: Mapping[str, Any], width: int) -> None:
        super().__init__(inputs, width)
        self.seen: list[Tensor] = []

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        found = super().forward(features)
        if not self.training:
            self.seen.append(found.mean(0))
        return found if not self.seen else found + torch.stack(self.seen).mean(0)


class Grows(Joined):
    """A buffer that has another size with each step: it is stored, so it may."""

    def __init__(self, inputs: Mapping[str, Any], width: int) -> None:
        super().__init__(inputs, width)
        self.register_buffer("steps", torch.zeros(1))

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        if self.training and len(self.get_buffer("steps")) < 3:
            self.steps = torch.zeros(len(self.get_buffer("steps")) + 1)
        return super().forward(features) + len(self.get_buffer("steps"))


def predicted(cache: Path, monkeypatch: pytest.MonkeyPatch, kind: type[nn.Module]) -> Predictions:
    """What a refit of the fusion predicts of test."""
    fusion = type(CATALOG.fusions["sum"])
    monkeypatch.setattr(fusion, "build", lambda self, inputs, width, params: kind(inputs, width))
    place = workspace(cache, replace(BUDGET, trials=1, batch=1, epochs=2, refit_seeds=1))
    wanted = schedule(place.cell, go(place)[0], CATALOG, place.base)
    ((refit, predictions, _),) = list(refits(place, wanted, done=(), begin=lambda count: None))
    assert refit.status == "ok", refit.reason
    return predictions


def test_test_is_predicted_by_what_can_be_stored(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a fusion saw of validation, and kept outside of its weights, is not there when test is predicted."""
    found = predicted(cache, monkeypatch, Hoards)["test"]
    used: list[int] = []
    forward = Hoards.forward

    def noted(self: Hoards, features: Mapping[str, Features]) -> Tensor:
        used.append(len(self.seen))
        return forward(self, features)

    monkeypatch.setattr(Hoards, "forward", noted)
    again = predicted(cache, monkeypatch, Hoards)["test"]
    assert (found == again).all()
    assert used[-1] == 0, "the model that predicts test has seen nothing before"
    assert max(used) > 0


def test_a_buffer_that_grew_is_loaded(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(predicted(cache, monkeypatch, Grows)["test"]) == 120


class Feigns(Joined):
    """Works only where nobody measures it."""

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        frame: Any = sys._getframe()
        while frame:
            if frame.f_code.co_filename.endswith("measure.py") and not self.training:
                return torch.zeros(len(next(iter(features.values())).pooled), self.out.out_features)
            frame = frame.f_back
        return super().forward(features)


def test_a_fusion_that_works_only_where_nobody_measures_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fusion = type(CATALOG.fusions["sum"])
    monkeypatch.setattr(measuring, "SECONDS", 0.01)
    monkeypatch.setattr(measuring, "LONGEST", 0.01)
    place = workspace(cache)
    for kind in (Joined, Feigns):
        monkeypatch.setattr(fusion, "build", lambda self, inputs, width, params, kind=kind: kind(inputs, width))
        if kind is Joined:
            assert measuring.measure(place, default_params(place.cell, CATALOG))["latency_ms_p50"] > 0
            continue
        with pytest.raises(TrainingError, match="it decides otherwise while it is measured"):
            measuring.measure(place, default_params(place.cell, CATALOG))
