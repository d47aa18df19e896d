"""Dropout that takes its chances sixteen bits at a time, for several steps at once, and whose probability is a tensor.

A CPU spends a sixth of a small model's step on what `nn.Dropout` draws, a number for each element; here four share
one. As the probability is a buffer, each member of a cohort has its own. `model.assemble` puts it in.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 2**16
"""The probability is rounded to so many parts."""
LOW, HIGH = -(2**63), 2**63 - 1
TOGETHER = 2**15
"""So many elements' chances are drawn at once, where that is allowed and it is more than one call needs."""


class Dropout(nn.Module):
    """Zeroes each element with probability p while training, and scales the others by 1 / (1 - p)."""

    below: Tensor
    scale: Tensor

    def __init__(self, p: float) -> None:
        super().__init__()
        lowest = min(round(p * LEVELS), LEVELS - 1) - LEVELS // 2
        self.register_buffer("below", torch.tensor(float(lowest - 1)), persistent=False)
        self.register_buffer("scale", torch.tensor(1 / (1 - p) if p < 1 else 0.0), persistent=False)
        self._masks, self._used = torch.empty(0), 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        # What a transform such as a cohort's `vmap` draws must not be kept.
        once = 2 * x.numel() > TOGETHER or torch._C._are_functorch_transforms_active()
        mask = self._draw(*x.shape, device=x.device) if once else self._next(x)
        return x * mask.to(x.dtype)

    def _draw(self, *shape: int, device: torch.device) -> Tensor:
        *rows, last = shape
        bits = torch.randint(LOW, HIGH, (*rows, -(-last // 4)), device=device).view(torch.int16)
        if last % 4:
            bits = bits[..., :last]
        # In floats and in place: torch compares integers, and widens booleans, several times slower.
        return F.hardtanh_(bits.float().sub_(self.below), 0, 1).mul_(self.scale)

    def _next(self, x: Tensor) -> Tensor:
        """A mask from those that were drawn together: for a small model one call costs more than its arithmetic."""
        size = x.numel()
        if self._used + size > len(self._masks):
            self._masks, self._used = self._draw(TOGETHER, device=x.device), 0
        start, self._used = self._used, self._used + size
        return self._masks[start : self._used].view(x.shape)
