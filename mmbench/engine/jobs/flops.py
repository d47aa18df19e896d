"""Counts floating-point operations by torch's own formulas, and by ours for the kernels that it has none for.

Not `torch.utils.flop_counter.FlopCounterMode`: its first use imports torch's compiler, seconds in each process that
measures. Used by measure.
"""

import math
from typing import Any

from mmbench.api.torch_private import flop_counter, kernels


class FlopCounter:
    """A context; afterwards `total` holds the operations of all that ran inside, two for each multiply and add."""

    def __init__(self) -> None:
        known = kernels(*_FORMULAS)
        self._mode = flop_counter({kernel: _FORMULAS[name] for name, kernel in known.items()})

    def __enter__(self) -> "FlopCounter":
        self._mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._mode.__exit__(*error)

    @property
    def total(self) -> int:
        return int(self._mode.total)


def _attention(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
    """Two matrix products, 2*B*H*T*S*(D + D)."""
    b, h, t, d = query
    return int(2 * b * h * t * key[2] * (d + value[3]))


def _lstm(steps: Any, to_input: Any, to_hidden: Any, *args: Any, **kwargs: Any) -> int:
    """One layer and direction: four gates, 2*B*T*4*H*(D + H)."""
    return int(2 * math.prod(steps[:-1]) * (math.prod(to_input) + math.prod(to_hidden)))


def _recurrent(steps: Any, weights: Any, *args: Any, **kwargs: Any) -> int:
    """All layers of a GRU, LSTM or RNN on CUDA: each matrix meets each step once."""
    return int(2 * math.prod(steps[:-1]) * sum(math.prod(weight) for weight in weights if len(weight) == 2))


def _trilinear(one: Any, two: Any, three: Any, *args: Any, **kwargs: Any) -> int:
    """nn.Bilinear, x W y: two products for each entry, and their sum."""
    return int(3 * math.prod(max(sizes) for sizes in zip(*_padded(one, two, three, *args[:3]), strict=True)))


def _vector(matrix: Any, other: Any, *args: Any, **kwargs: Any) -> int:
    return int(2 * math.prod(matrix))


def _padded(*given: Any) -> list[list[int]]:
    """Three shapes, each with a 1 at the places where its list of `expand` says."""
    shapes = []
    for shape, expand in zip(given[:3], given[3:], strict=True):
        sizes = list(shape)
        for place in sorted(expand):
            sizes.insert(place, 1)
        shapes.append(sizes)
    return shapes


_FORMULAS: dict[str, Any] = {
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "mkldnn_rnn_layer": _lstm,
    "_cudnn_rnn": _recurrent,
    "_trilinear": _trilinear,
    "mv": _vector,
    "dot": _vector,
    "addmv": lambda total, matrix, other, *args, **kwargs: _vector(matrix, other),
}
"""{kernel: its FLOPs from the shapes it is given} for what torch counts nothing."""
