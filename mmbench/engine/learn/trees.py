"""Takes the tensors out of nested dicts, lists and tuples, and puts others in: what `vmap` hands on is a flat list.

Used by cohort.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor


class _Place(int):
    """Where a tensor stood."""


def without(tree: Any, tensors: list[Tensor]) -> Any:
    """The tree with its tensors moved into the list, detached. Raises TypeError for what can't be looked into."""
    if isinstance(tree, Tensor):
        tensors.append(tree.detach())
        return _Place(len(tensors) - 1)
    if isinstance(tree, dict):
        return {name: without(value, tensors) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return _like(tree, [without(value, tensors) for value in tree])
    if not isinstance(tree, str | int | float | bool | type(None)):
        raise TypeError(f"a {type(tree).__name__} among tensors: there may be a tensor inside")
    return tree


def filled(tree: Any, tensors: Sequence[Tensor]) -> Any:
    """The tree that `without` gave, with tensors in their places again."""
    if isinstance(tree, _Place):
        return tensors[tree]
    if isinstance(tree, dict):
        return {name: filled(value, tensors) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return _like(tree, [filled(value, tensors) for value in tree])
    return tree


def _like(tree: Any, values: list[Any]) -> Any:
    return tree._make(values) if hasattr(tree, "_make") else type(tree)(values)
