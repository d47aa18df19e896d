"""What passes between the modules of a model: an encoder's features, what a fusion gives, what an epoch came to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


class Features:
    """What an encoder gives for one modality.

    tokens [B, T, D]; mask [B, T], True where a token is present, left out where all of them are. The engine sets
    tokens to zero where the mask is False, and masks every token of a missing modality, so `pooled` is then zero.
    One token a row may be given as [B, D]; it is read as [B, 1, D], as are layers.
    """

    def __init__(self, tokens: "Tensor", mask: "Tensor | None" = None, layers: "Sequence[Tensor]" = ()) -> None:
        self.given = (tokens, mask, tuple(layers))
        """What it was made of: `Features(*given)` is the same again."""

    @property
    def whole(self) -> bool:
        """Whether every token is known to be present, which saves the arithmetic with the mask."""
        return self.given[1] is None

    @property
    def shape(self) -> tuple[int, ...]:
        """(B, T, D)."""
        tokens = self.given[0]
        return tuple(tokens.shape) if tokens.dim() != 2 else (tokens.shape[0], 1, tokens.shape[1])

    @property
    def tokens(self) -> "Tensor":
        return _tokens(self.given[0])

    @property
    def mask(self) -> "Tensor":
        import torch

        tokens, mask, _ = self.given
        return tokens.new_ones((), dtype=torch.bool).expand(self.shape[:2]) if mask is None else mask

    @property
    def layers(self) -> "tuple[Tensor, ...]":
        """The encoder's inner layers, each [B, T', D'], for fusions that meet there."""
        return tuple(map(_tokens, self.given[2]))

    @property
    def pooled(self) -> "Tensor":
        """The mean of the present tokens, [B, D]; zero where none is."""
        tokens, mask, _ = self.given
        if mask is None:
            return tokens if tokens.dim() == 2 else tokens.squeeze(1) if tokens.shape[1] == 1 else tokens.mean(1)
        weight = mask.to(tokens.dtype).unsqueeze(-1)
        return (self.tokens * weight).sum(1) / weight.sum(1).clamp(min=1)

    @property
    def present(self) -> "Tensor":
        """Whether the modality is there at all, [B], bool."""
        return self.mask[:, 0] if self.whole else self.mask.any(1)

    def take(self, rows: "Tensor") -> "Features":
        """The features of some rows, each as often as it is asked for."""
        tokens, mask, layers = self.given
        some = [gather(layer, rows) for layer in layers]
        return Features(gather(tokens, rows), None if mask is None else gather(mask, rows), some)


def gather(array: "Tensor", rows: "Tensor") -> "Tensor":
    """`array[rows]`. A CPU does it by `index_select` several times as fast, forth and back; on a GPU that one's
    gradient would be summed in a random order."""
    return array.index_select(0, rows) if array.device.type == "cpu" else array[rows]


def _tokens(tensor: "Tensor") -> "Tensor":
    return tensor.unsqueeze(1) if tensor.dim() == 2 else tensor


@dataclass(frozen=True)
class FeatureSpec:
    """The shape of one modality's features: `width` D and at most `tokens` T."""

    width: int
    tokens: int


@dataclass
class Fused:
    """What a fusion gives; a bare tensor stands for `vector` (feature level) or `logits` (decision level).

    vector [B, width]; logits [B, outputs]; tokens [B, T, width], with mask [B, T], True where one is present, left out
    where all are; weights {modality: [B]}: how much each modality counted; extras: what the fusion's own `loss` needs.
    """

    vector: "Tensor | None" = None
    logits: "Tensor | None" = None
    tokens: "Tensor | None" = None
    weights: "dict[str, Tensor]" = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)
    mask: "Tensor | None" = None


@dataclass(frozen=True)
class Epoch:
    """What `on_epoch` hears after each epoch: its index from 0, how many there may be, and the scores so far."""

    index: int
    total: int
    scores: Mapping[str, float]
    """"loss" (training) and "score" (the tuned metric on validation)."""

    @property
    def progress(self) -> float:
        return (self.index + 1) / self.total
