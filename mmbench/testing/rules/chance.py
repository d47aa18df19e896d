"""Random numbers that follow from their shape alone, so that a training by itself and one in a cohort can be compared
with dropout on: each draws in an order of its own. Used by the rules about cohorts."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmbench.engine.learn import dropout

MOST = 2**62


@contextmanager
def alike() -> Iterator[None]:
    """Whatever is drawn meanwhile, by torch's ordinary functions or by a dropout, depends on its shape alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dropout, "TOGETHER", 0)  # no masks that several steps share
        for name, draw in DRAWS.items():
            patch.setattr(torch, name, draw)
        for name, fill in FILLS.items():
            patch.setattr(Tensor, name, fill)
        for name, drop in DROPS.items():
            patch.setattr(F, name, drop)
        patch.setattr(torch, "dropout", DROPS["dropout"])
        yield


def _uniform(shape: Any) -> Any:
    shape = tuple(shape)
    return np.random.default_rng([len(shape), *shape]).random(shape)


def _normal(shape: Any) -> Any:
    shape = tuple(shape)
    return np.random.default_rng([len(shape), *shape]).standard_normal(shape)


def _integers(low: int, high: int, shape: Any) -> Any:
    shape = tuple(shape)
    return np.random.default_rng([len(shape), *shape]).integers(low, min(high, MOST), shape)


def _shape(shape: tuple[Any, ...]) -> Any:
    return shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape


def _tensor(array: Any, dtype: torch.dtype | None, device: Any) -> Tensor:
    return torch.from_numpy(np.asarray(array)).to(dtype=dtype or torch.get_default_dtype(), device=device)


def _made(draw: Callable[[Any], Any]) -> Callable[..., Tensor]:
    def made(*shape: Any, dtype: Any = None, device: Any = None, size: Any = None, **_: Any) -> Tensor:
        return _tensor(draw(_shape(shape) if size is None else size), dtype, device)

    return made


def _like(draw: Callable[[Any], Any]) -> Callable[..., Tensor]:
    def made(like: Tensor, *, dtype: Any = None, device: Any = None, **_: Any) -> Tensor:
        return _tensor(draw(like.shape), dtype or like.dtype, device or like.device)

    return made


def _randint(low: int, high: Any, size: Any = None, *, dtype: Any = None, device: Any = None, **_: Any) -> Tensor:
    low, high, size = (0, low, high) if size is None else (low, high, size)
    return _tensor(_integers(low, high, size), dtype or torch.int64, device)


def _bernoulli(p: Tensor, *_: Any, **__: Any) -> Tensor:
    return (_tensor(_uniform(p.shape), torch.float32, p.device) < p).to(p.dtype)


def _fill(draw: Callable[..., Any]) -> Callable[..., Tensor]:
    def fill(into: Tensor, *given: Any, generator: Any = None, **named: Any) -> Tensor:
        return into.copy_(_tensor(draw(into.shape, *given, **named), torch.float32, into.device))

    return fill


def _uniform_between(shape: Any, low: float = 0.0, high: float = 1.0) -> Any:
    return low + (high - low) * _uniform(shape)


def _normal_about(shape: Any, mean: float = 0.0, std: float = 1.0) -> Any:
    return mean + std * _normal(shape)


def _drop(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if not training or p == 0:
        return input
    mask = _tensor(_uniform(input.shape) >= p, input.dtype, input.device) / max(1e-6, 1 - p)
    return input.mul_(mask) if inplace else input * mask


_attention = F.scaled_dot_product_attention
_attention_takes = list(inspect.signature(lambda query, key, value, attn_mask, dropout_p: None).parameters)


def _attend(*given: Any, **named: Any) -> Tensor:
    """Attention itself, without the dropout inside it."""
    return _attention(**{**dict(zip(_attention_takes, given, strict=False)), **named, "dropout_p": 0.0})


DRAWS: dict[str, Callable[..., Tensor]] = {
    "rand": _made(_uniform),
    "randn": _made(_normal),
    "randint": _randint,
    "rand_like": _like(_uniform),
    "randn_like": _like(_normal),
    "bernoulli": _bernoulli,
}
FILLS: dict[str, Callable[..., Tensor]] = {
    "uniform_": _fill(_uniform_between),
    "normal_": _fill(_normal_about),
    "exponential_": _fill(lambda shape, rate=1.0: -np.log1p(-_uniform(shape)) / rate),
    "bernoulli_": _fill(lambda shape, p=0.5: _uniform(shape) < p),
}
DROPS: dict[str, Callable[..., Tensor]] = {
    "dropout": _drop,
    "alpha_dropout": _drop,
    "scaled_dot_product_attention": _attend,
}
