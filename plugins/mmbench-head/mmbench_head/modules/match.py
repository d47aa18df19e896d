"""The module of the head `match`: a batch of B rows becomes its B x B pairs, row i's left with row j's right."""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmbench.api.parts import Features, Fused
from mmbench_head.modules.decision import Decision, logits_of

PAIRS = 16_384  # how many pairs are scored at once
NEVER = -1e9  # the score of a pair that was not asked for


class Match(Decision):
    def __init__(self, width: int | None, dropout: float, *, left: Sequence[str]) -> None:
        super().__init__(1, width, dropout)
        self.left = tuple(left)

    def arrange(self, features: Mapping[str, Features], target: Tensor) -> tuple[dict[str, Features], Tensor]:
        n = len(target)
        return self.pair(features, torch.arange(n), torch.arange(n)), torch.eye(n, device=target.device).flatten()

    def pair(self, features: Mapping[str, Features], rows: Tensor, columns: Tensor) -> dict[str, Features]:
        """Left of each of `rows` with right of each of `columns`, [len(rows) * len(columns)]."""
        device = next(iter(features.values())).tokens.device
        lefts = rows.to(device).repeat_interleave(len(columns))
        rights = columns.to(device).repeat(len(rows))
        return {m: f.take(lefts if m in self.left else rights) for m, f in features.items()}

    def loss(self, fused: Fused, target: Tensor) -> Tensor:
        logits = logits_of(fused).float()
        n = round(len(logits) ** 0.5)
        scores = logits.view(n, n)
        match = torch.arange(n, device=logits.device)
        return (F.cross_entropy(scores, match) + F.cross_entropy(scores.T, match)) / 2

    def predict(self, fused: Fused) -> Tensor:
        return logits_of(fused).squeeze(-1)

    def compare(
        self, features: Mapping[str, Features], judge: Callable[[Mapping[str, Features]], Fused], pool: int | None
    ) -> Tensor:
        """Scores [N, N]; with `pool` each match is asked for among so many candidates only, rows that follow each
        other."""
        n, device = (some := next(iter(features.values()))).shape[0], some.tokens.device
        pool = pool or n
        scores = torch.full((n, n), NEVER, device=device)
        step = max(1, PAIRS // pool)
        for first in range(0, n, pool):
            columns = torch.arange(first, min(first + pool, n))
            for rows in columns.split(step):
                found = self.predict(judge(self.pair(features, rows, columns)))
                scores[rows[0] : rows[-1] + 1, first : first + pool] = found.view(len(rows), len(columns))
        return scores
