"""From logits to a loss, and from logits to predictions, for each type of target. Used by model, train, evaluate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmbench.api.data import Match, Target
from mmbench.api.parts import Features

FeatureMap: TypeAlias = Mapping[str, Features]
PAIRS = 16_384  # how many pairs are scored at once
POOL = 64
NEVER = -1e9  # the score of a pair that was not asked for


@dataclass(frozen=True)
class Head:
    """What a type of target means for the engine; one subclass a type."""

    outputs: int
    most_rows = 1_000_000
    """The largest batch that training may take at once."""

    def encode(self, target: "np.ndarray[Any, Any]") -> Tensor:
        """The truth as the loss wants it."""
        raise NotImplementedError

    def arrange(self, features: FeatureMap, target: Tensor) -> tuple[FeatureMap, Tensor]:
        """What the fusion judges: the rows as they are, unless the target is about pairs."""
        return features, target

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        raise NotImplementedError

    def decode(self, logits: Tensor) -> Tensor:
        """Logits [B, outputs] to predictions."""
        raise NotImplementedError

    def together(self) -> "Head":
        """The same for a cohort: where that is faster, in operations that take many models' logits at once."""
        return self


class LabelHead(Head):
    """One of `outputs` classes: cross-entropy, probabilities [N, C]."""

    def encode(self, target: "np.ndarray[Any, Any]") -> Tensor:
        return torch.from_numpy(target).long()

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits, target)

    def decode(self, logits: Tensor) -> Tensor:
        return logits.softmax(-1)

    def together(self) -> Head:
        return _LabelHeads(self.outputs)


class _LabelHeads(LabelHead):
    """`vmap` takes cross-entropy apart into many small operations; and a softmax over few classes is several times
    faster where the rows, not the classes, lie side by side."""

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return -logits.t().log_softmax(0).gather(0, target.unsqueeze(0)).mean()


class LabelsHead(Head):
    """Any of `outputs` classes: binary cross-entropy, probabilities [N, L]."""

    def encode(self, target: "np.ndarray[Any, Any]") -> Tensor:
        return torch.from_numpy(target).float()

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, target)

    def decode(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()


@dataclass(frozen=True)
class NumberHead(Head):
    """A real number, standardised by the train rows: squared error, predictions [N] in the target's own unit."""

    mean: float = 0.0
    deviation: float = 1.0

    def encode(self, target: "np.ndarray[Any, Any]") -> Tensor:
        return torch.from_numpy((target - self.mean) / self.deviation).float()

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(logits.squeeze(-1), target)

    def decode(self, logits: Tensor) -> Tensor:
        return logits.squeeze(-1) * self.deviation + self.mean


@dataclass(frozen=True)
class MatchHead(Head):
    """Retrieval: the fusion judges pairs. A batch of B rows becomes its B x B pairs, row i's left with row j's right;
    the loss is InfoNCE in both directions; predictions are scores [N, N].

    Pairs grow with the square of rows, so a batch has at most `most_rows`, and while training, validation asks for the
    match among POOL candidates; test asks for it among all.
    """

    left: tuple[str, ...] = ()
    most_rows = 32

    def encode(self, target: "np.ndarray[Any, Any]") -> Tensor:
        return torch.from_numpy(target).long()

    def arrange(self, features: FeatureMap, target: Tensor) -> tuple[FeatureMap, Tensor]:
        n = len(target)
        return self.pair(features, torch.arange(n), torch.arange(n)), torch.eye(n, device=target.device).flatten()

    def pair(self, features: FeatureMap, rows: Tensor, columns: Tensor) -> FeatureMap:
        """Left of each of `rows` with right of each of `columns`, [len(rows) * len(columns)]."""
        device = next(iter(features.values())).tokens.device
        lefts = rows.to(device).repeat_interleave(len(columns))
        rights = columns.to(device).repeat(len(rows))
        return {m: take(f, lefts if m in self.left else rights) for m, f in features.items()}

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        n = round(len(logits) ** 0.5)
        scores = logits.view(n, n)
        match = torch.arange(n, device=logits.device)
        return (F.cross_entropy(scores, match) + F.cross_entropy(scores.T, match)) / 2

    def decode(self, logits: Tensor) -> Tensor:
        return logits.squeeze(-1)


def head_for(target: Target, outputs: int, train: "np.ndarray[Any, Any]") -> Head:
    """The head of a task; `train` is the truth of the train rows."""
    if isinstance(target, Match):
        return MatchHead(outputs=1, left=target.left)
    if target.type == "number":
        return NumberHead(outputs=1, mean=float(train.mean()), deviation=float(train.std()) or 1.0)
    return LabelsHead(outputs) if target.type == "labels" else LabelHead(outputs)


def take(features: Features, rows: Tensor) -> Features:
    """The features of some rows, each as often as it is asked for."""
    tokens, mask, layers = features.given
    return Features(
        gather(tokens, rows), None if mask is None else gather(mask, rows), [gather(layer, rows) for layer in layers]
    )


def gather(array: Tensor, rows: Tensor) -> Tensor:
    """`array[rows]`. A CPU does it by `index_select` several times as fast, forth and back; on a GPU that one's
    gradient would be summed in an order of chance."""
    return array.index_select(0, rows) if array.device.type == "cpu" else array[rows]


def join(parts: list[Features]) -> Features:
    """The rows of several batches as one."""
    return Features(
        torch.cat([p.tokens for p in parts]),
        None if all(p.whole for p in parts) else torch.cat([p.mask for p in parts]),
        [torch.cat(layers) for layers in zip(*(p.layers for p in parts), strict=True)],
    )
