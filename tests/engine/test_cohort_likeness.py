"""One by one, or not at all: modules that one program for all would train otherwise, each alone and in a cohort."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmbench.api.parts import Epoch
from mmbench.api.torch_private import Places
from mmbench.engine.learn.cohort import Cohort
from tests.engine.members import MEMBERS, WIDTH, Plain, Tied, alone, lesson, models, same, told


class Frozen(Plain):
    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.fixed = nn.Linear(WIDTH, WIDTH).requires_grad_(False)

    def change(self, x: Tensor) -> Tensor:
        return F.relu(self.fixed(x))


class Normed(Plain):
    """Its running statistics change in place, in training only."""

    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.norm = nn.BatchNorm1d(WIDTH)

    def change(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(x)
        return out


class Replaced(Plain):
    """Puts another tensor in the place of a buffer."""

    mean: Tensor

    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.register_buffer("mean", torch.zeros(WIDTH))

    def change(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return x - self.mean


class Transient(Plain):
    """As a buffer that is not stored, it keeps what it was in the last epoch, not in the best."""

    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.register_buffer("heat", torch.ones(()), persistent=False)

    def on_epoch(self, epoch: Epoch) -> None:
        self.get_buffer("heat").mul_(0.5)

    def change(self, x: Tensor) -> Tensor:
        return x * self.get_buffer("heat")


class Unused(Plain):
    """Has a parameter that takes no part in the loss: it neither moves nor decays."""

    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.spare = nn.Linear(WIDTH, WIDTH)


class Rewritten(Plain):
    """Changes its own weights, frozen ones too, between two epochs."""

    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.fixed = nn.Parameter(torch.ones(WIDTH), requires_grad=False)

    def on_epoch(self, epoch: Epoch) -> None:
        with torch.no_grad():
            self.out.weight.mul_(0.5)
            self.fixed.add_(epoch.scores["score"])

    def change(self, x: Tensor) -> Tensor:
        return x * self.fixed


class Annealed(Plain):
    """Sets plain attributes between two epochs, alike in all members."""

    def __init__(self, k: int) -> None:
        super().__init__(k)
        self._heat = 1.0

    def on_epoch(self, epoch: Epoch) -> None:
        self._heat = 1.0 - epoch.progress / 2

    def change(self, x: Tensor) -> Tensor:
        return x * self._heat


class Rates(Plain):
    """Learns at rates of its own."""

    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.slow, self.still = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def learning_rates(self) -> dict[str, float]:
        return {"slow": 0.1, "slow.bias": 2.0, "out.weight": 0.5}

    def no_decay(self) -> list[str]:
        return ["slow.weight", "still"]

    def change(self, x: Tensor) -> Tensor:
        out: Tensor = self.still(F.relu(self.slow(x)))
        return out


@pytest.mark.parametrize("kind", [Plain, Frozen, Normed, Replaced, Transient, Tied, Unused, Rewritten, Annealed, Rates])
def test_trained_together_as_alone(kind: Callable[[int], nn.Module]) -> None:
    same(kind)


@pytest.mark.parametrize("kind", [Replaced, Normed, Tied, Frozen])
def test_trained_together_as_alone_by_torchs_public_functions(
    kind: Callable[[int], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmbench.api import torch_private

    monkeypatch.setattr(torch_private, "private", lambda _: None)
    assert not Places(nn.Linear(1, 1))._own
    same(kind)


def test_frozen_weights_stay() -> None:
    before = [model.get_parameter("fusion.fixed.weight").clone() for model in models(Frozen)]
    cohort = same(Frozen)
    for k, weight in enumerate(before):
        assert torch.equal(cohort.models[k].get_parameter("fusion.fixed.weight"), weight)


def test_a_member_that_leaves_first_is_not_the_one_that_hears_of_epochs() -> None:
    """The shell is one that lives: a plain attribute that `on_epoch` sets reaches those that are left."""
    cohort = Cohort(models(Annealed), [told(k) for k in range(MEMBERS)], lesson())
    cohort.advance()
    cohort.stop(0)
    while not cohort.over:
        cohort.advance()
    for k, training in enumerate(alone(Annealed)):
        if k:
            assert cohort.fits[k].curve == pytest.approx(training.fit.curve, abs=1e-6)
