"""Counts floating-point operations by torch's own formulas, and by ours for the kernels that it has none for.

Not `torch.utils.flop_counter.FlopCounterMode`: its first use imports torch's compiler, seconds in each process that
measures. Used by measure.
"""

import math
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, shape_wrapper


class FlopCounter(TorchDispatchMode):
    """A context; afterwards `total` holds the operations of all that ran inside, two for each multiply and add."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self._formulas = {**flop_registry, **{kernel: shape_wrapper(f) for kernel, f in _uncounted().items()}}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """What keeps torch from importing its compiler for this class."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = func._overloadpacket
        if packet not in self._formulas:
            with self:
                result = func.decompose(*args, **kwargs)
                if result is not NotImplemented:
                    return result
        result = func(*args, **kwargs)
        if packet in self._formulas:
            self.total += int(self._formulas[packet](*args, **kwargs, out_val=result))
        return result


def _uncounted() -> dict[Any, Any]:
    """{kernel: its FLOPs from the shapes it is given} for what torch counts nothing."""

    def attention(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
        """Two matrix products, 2*B*H*T*S*(D + D)."""
        b, h, t, d = query
        return int(2 * b * h * t * key[2] * (d + value[3]))

    def lstm(steps: Any, to_input: Any, to_hidden: Any, *args: Any, **kwargs: Any) -> int:
        """One layer and direction: four gates, 2*B*T*4*H*(D + H)."""
        return int(2 * math.prod(steps[:-1]) * (math.prod(to_input) + math.prod(to_hidden)))

    def recurrent(steps: Any, weights: Any, *args: Any, **kwargs: Any) -> int:
        """All layers of a GRU, LSTM or RNN on CUDA: each matrix meets each step once."""
        return int(2 * math.prod(steps[:-1]) * sum(math.prod(weight) for weight in weights if len(weight) == 2))

    def trilinear(one: Any, two: Any, three: Any, *args: Any, **kwargs: Any) -> int:
        """nn.Bilinear, x W y: two products for each entry, and their sum."""
        return int(3 * math.prod(max(sizes) for sizes in zip(*_padded(one, two, three, *args[:3]), strict=True)))

    def vector(matrix: Any, other: Any, *args: Any, **kwargs: Any) -> int:
        return int(2 * math.prod(matrix))

    aten = torch.ops.aten
    return {
        aten._scaled_dot_product_flash_attention_for_cpu: attention,
        aten.mkldnn_rnn_layer: lstm,
        aten._cudnn_rnn: recurrent,
        aten._trilinear: trilinear,
        aten.mv: vector,
        aten.dot: vector,
        aten.addmv: lambda total, matrix, other, *args, **kwargs: vector(matrix, other),
    }


def _padded(*given: Any) -> list[list[int]]:
    """Three shapes, each with a 1 at the places where its list of `expand` says."""
    shapes = []
    for shape, expand in zip(given[:3], given[3:], strict=True):
        sizes = list(shape)
        for place in sorted(expand):
            sizes.insert(place, 1)
        shapes.append(sizes)
    return shapes
