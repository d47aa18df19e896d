"""Whether models may share one program: the same code with the same settings, different tensors at most.

All that `build` made is compared, down to what is inside lists, functions and objects; what can't be compared counts as
different. A cohort that is refused trains one by one, which is always right. Used by cohort.
"""

import functools
import types
import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmbench.api.torch_private import HOOKS, REGISTERED, hooked
from mmbench.engine.learn.dropout import Dropout

PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...), type(NotImplemented), range, slice, Path, Enum)
OF_TORCH = (torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size)
CODE = (type, types.ModuleType, types.BuiltinFunctionType, np.ufunc)
OWN: dict[type, tuple[str, ...]] = {Dropout: ("_pool", "p")}
"""What of our own modules may differ: chances drawn ahead, and what a cohort holds for each member."""


def obstacle(model: nn.Module) -> str | None:
    """Why nothing alike may train in one program with the model; None if it may."""
    named = [*model.named_parameters(), *model.named_buffers()]
    for name, module in model.named_modules():
        kind = type(module)
        if kind.train is not nn.Module.train or kind.eval is not nn.Module.eval:
            return f"{name or 'the model'} has a train() or eval() that is not torch's"
        if kind.get_extra_state is not nn.Module.get_extra_state:
            return f"{name or 'the model'} keeps a state that is no tensor"
    for name, parameter in model.named_parameters():
        if type(parameter) is not nn.Parameter or not parameter.is_leaf:
            return f"{name} is a {type(parameter).__name__}, not a plain parameter"
        if hooked(parameter):
            return f"{name} has a hook on its gradient"
    kinds = {parameter.dtype for _, parameter in model.named_parameters() if parameter.requires_grad}
    if not kinds:
        return "nothing learns"
    if len(kinds) > 1:
        return f"what learns is of several number types: {', '.join(sorted(map(str, kinds)))}"
    places: dict[int, str] = {}
    for name, tensor in named:
        if tensor.layout is not torch.strided:
            return f"{name} is not dense"
        place = tensor.untyped_storage().data_ptr()
        if tensor.numel() and place in places:
            return f"{name} and {places[place]} lie in one piece of memory"
        places[place] = name
    return None


def difference(one: nn.Module, other: nn.Module) -> str | None:
    """Where two models differ in more than the values of their parameters and buffers, and p of their dropouts; None if
    nowhere."""
    return _Comparison(one, other).models()


class _Comparison:
    def __init__(self, one: nn.Module, other: nn.Module) -> None:
        self._one, self._other = one, other
        self._pairs: dict[int, tuple[Any, Any]] = {}
        """{id of what was met in the first: what it is, and what stands in its place in the second}"""
        self._back: dict[int, Any] = {}
        self._storages = {
            tensor.untyped_storage().data_ptr() for tensor in (*one.parameters(), *one.buffers()) if tensor.numel()
        }

    def models(self) -> str | None:
        first = dict(self._one.named_modules(remove_duplicate=False))
        second = dict(self._other.named_modules(remove_duplicate=False))
        if list(first) != list(second):
            return "the names of the modules"
        for name, module in first.items():
            if not self._paired(module, second[name]):
                return f"which modules are shared: {name}"
        mine, its = (dict(_tensors(model)) for model in (self._one, self._other))
        if list(mine) != list(its):
            return "the names of the tensors"
        for name, tensor in mine.items():
            if not self._paired(tensor, its[name]) or _form(tensor) != _form(its[name]):
                return name
        for name, module in dict(self._one.named_modules()).items():
            where = self._attributes(name, module, second[name])
            if where:
                return where
        return None

    def _paired(self, one: Any, other: Any) -> bool:
        """Note that the two stand in each other's place; False if one of them stands in another's."""
        known, back = self._pairs.setdefault(id(one), (one, other)), self._back.setdefault(id(other), one)
        return known[1] is other and back is one

    def _attributes(self, name: str, one: nn.Module, other: nn.Module) -> str | None:
        """Where the plain attributes of two modules differ."""
        if type(one) is not type(other):
            return name or "the class of the model"
        left_out = {*REGISTERED, *OWN.get(type(one), ())}
        mine, its = ({k: v for k, v in vars(m).items() if k not in left_out} for m in (one, other))
        if mine.keys() != its.keys():
            return f"{name}: {', '.join(sorted(mine.keys() ^ its.keys()))}"
        for key, value in mine.items():
            a, b = (list(v.values()) if key in HOOKS else v for v in (value, its[key]))
            if not self._same(a, b):
                return f"{name}.{key}".lstrip(".")
        return None

    def _same(self, one: Any, other: Any) -> bool:
        """Whether two values mean the same to the code that reads them."""
        if type(one) is not type(other):
            return False
        if isinstance(one, CODE):
            return one is other
        if isinstance(one, types.CodeType):
            return bool(one == other)
        if isinstance(one, OF_TORCH):
            return bool(one == other)
        if isinstance(one, PLAIN):
            return repr(one) == repr(other)
        if isinstance(one, Tensor):
            return self._same_tensor(one, other)
        if isinstance(one, np.generic | np.ndarray) and one.dtype != object:
            return bool((one.dtype, one.shape) == (other.dtype, other.shape)) and one.tobytes() == other.tobytes()
        if id(one) in self._pairs or id(other) in self._back:
            return self._paired(one, other)
        self._paired(one, other)
        if isinstance(one, nn.Module):  # one that is not registered, so that its tensors are its settings
            return self._same(vars(one), vars(other))
        return self._same_parts(one, other)

    def _same_tensor(self, one: Tensor, other: Tensor) -> bool:
        if id(one) in self._pairs or one.untyped_storage().data_ptr() in self._storages:
            return False  # another name for what is registered, which a cohort puts others in the place of
        return _form(one) == _form(other) and torch.equal(one.detach(), other.detach())

    def _same_parts(self, one: Any, other: Any) -> bool:
        mine, its = _pieces(one), _pieces(other)
        if mine is None or its is None or len(mine) != len(its):
            return False
        return all(self._same(a, b) for a, b in zip(mine, its, strict=True))


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What is registered, under each of its names."""
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _form(tensor: Tensor) -> tuple[Any, ...]:
    return type(tensor), tensor.shape, tensor.dtype, tensor.device, tensor.requires_grad


def _pieces(value: Any) -> list[Any] | None:
    """What a value is made of, in an order that means something; None if that can't be known."""
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        settings = [value.__defaults__, value.__kwdefaults__, value.__dict__]
        return [value.__code__, id(value.__globals__), *settings, *cells]
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, weakref.ref):
        return [value()]
    if isinstance(value, np.ndarray):
        return [value.shape, *value.ravel().tolist()]
    own = _own(value)
    if isinstance(value, Mapping):
        return [*value, *value.values(), *own]
    if isinstance(value, Set):
        return [*sorted(value, key=repr), *own] if all(isinstance(one, PLAIN) for one in value) else None
    if isinstance(value, Sequence | deque):
        return [*value, *own]
    try:
        made = value.__reduce_ex__(4)
    except Exception:  # what can't be taken apart for pickling can't be taken apart here
        return None
    if isinstance(made, str):  # known by its name: there is one of it
        return [id(value)]
    return [*made[:3], *own]


def _own(value: Any) -> list[Any]:
    """The names and values of an object's own attributes."""
    slots = [name for kind in type(value).__mro__ for name in _listed(vars(kind).get("__slots__", ()))]
    held = {name: getattr(value, name) for name in slots if name != "__dict__" and hasattr(value, name)}
    return [part for item in {**held, **getattr(value, "__dict__", {})}.items() for part in item]


def _listed(slots: Any) -> list[str]:
    return [slots] if isinstance(slots, str) else list(slots)
