"""Dropout that draws its random numbers sixteen bits at a time, and for several steps at once.

A CPU spends a sixth of a small model's step on what `nn.Dropout` draws, a number for each element; here four share
one. To whoever looks at it, it is `nn.Dropout`. `model.put_in` puts it in; a cohort gives each member its own p.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmbench.api.torch_private import transforms_active

LEVELS = 2**16
"""The probability is rounded to so many parts."""
LOW, HIGH = -(2**63), 2**63 - 1
TOGETHER = 2**15
"""So many elements' chances are drawn at once, where that is allowed and it is more than one call needs."""
Levels = tuple[Any, Any]
"""The level that a chance must be above for its element to stay, and what it is then multiplied by."""


class Dropout(nn.Dropout):
    """Zeroes each element with probability p while training, and scales the others by 1 / (1 - p).

    `p` may be changed at any time. A module of torch's becomes one of these by its class alone: nothing else of it,
    its hooks among them, changes.
    """

    _pool: tuple[float, Tensor, int] | None = None
    """The p that masks were drawn for, those masks, and how many of their elements are used."""
    _member: Levels | None = None
    """Those of a cohort's member, while the cohort runs it."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return input
        if self._member is not None:
            mask = _draw(input, input.shape, self._member)
        elif not 0 <= self.p <= 1:
            return super().forward(input)  # torch says what is wrong
        # What a transform such as a cohort's `vmap` draws must not be kept.
        elif 2 * input.numel() > TOGETHER or transforms_active():
            mask = _draw(input, input.shape, levels(self.p))
        else:
            mask = self._next(input)
        mask = mask.to(input.dtype)
        return input.mul_(mask) if self.inplace else input * mask

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: no chances that were drawn ahead, or two copies would share them."""
        return {name: value for name, value in vars(self).items() if name != "_pool"}

    def _next(self, input: Tensor) -> Tensor:
        """A mask from those that were drawn together: for a small model one call costs more than its arithmetic."""
        size, pool = input.numel(), self._pool
        if pool is None or pool[0] != self.p or pool[2] + size > TOGETHER or pool[1].device != input.device:
            pool = (self.p, _draw(input, (TOGETHER,), levels(self.p)), 0)
        p, masks, used = pool
        vars(self)["_pool"] = (p, masks, used + size)  # not by torch's __setattr__, which takes as long as the mask
        return masks[used : used + size].view(input.shape)


def levels(p: float) -> Levels:
    lowest = min(round(p * LEVELS), LEVELS - 1) - LEVELS // 2
    return float(lowest - 1), 1 / (1 - p) if p < 1 else 0.0


def _draw(input: Tensor, shape: tuple[int, ...], levels: Levels) -> Tensor:
    *rows, last = shape or (1,)
    bits = torch.randint(LOW, HIGH, (*rows, -(-last // 4)), device=input.device).view(torch.int16)
    if last % 4:
        bits = bits[..., :last]
    below, scale = levels
    # In floats and in place: torch compares integers, and widens booleans, several times slower.
    return F.hardtanh_(bits.float().sub_(below), 0, 1).mul_(scale).view(shape)


class Chances:
    """The probabilities of a cohort's dropouts. Raises ValueError for one that is none."""

    def __init__(self, models: "list[nn.Module]") -> None:
        found = [
            {name: module.p for name, module in model.named_modules() if isinstance(module, Dropout)}
            for model in models
        ]
        self.all = {name: [each[name] for each in found] for name in found[0]}
        for name, each in self.all.items():
            if not all(isinstance(p, int | float) and 0 <= p <= 1 for p in each):
                raise ValueError(f"the p of {name} is no number from 0 to 1: {each}")
        self._several = [name for name, each in self.all.items() if any(p != each[0] for p in each)]

    def tensors(self, device: torch.device) -> list[Tensor]:
        """For each module in which the members differ p, level and scale, each [K]."""
        rows = [zip(*((p, *levels(p)) for p in self.all[name]), strict=True) for name in self._several]
        return [torch.tensor(column, dtype=torch.float32, device=device) for row in rows for column in row]

    @contextmanager
    def held(self, modules: Mapping[str, nn.Module], tensors: list[Tensor]) -> Iterator[None]:
        """While a member runs, its tensors stand in the place of its dropouts' p. Raises ValueError if the member's own
        code sets one of them: a cohort would lose that."""
        places: list[Any] = [modules[name] for name in self._several]
        own = [module.p for module in places]
        for module, *mine in zip(places, tensors[::3], tensors[1::3], tensors[2::3], strict=True):
            module.p, module._member = mine[0], (mine[1], mine[2])
        try:
            yield
            if any(module.p is not mine for module, mine in zip(places, tensors[::3], strict=True)):
                raise ValueError("the p of a dropout was set in the middle of a step")
        finally:
            for module, p in zip(places, own, strict=True):
                module.p, module._member = p, None
                del module._member
