"""What the metrics share: checks of what they are given, and resamples as a weight for each item."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias
from weakref import ref

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
Arrays: TypeAlias = tuple[Array, ...]
Count: TypeAlias = Callable[..., Arrays]
"""count(truth, prediction, ...): what several metrics are made of."""
Place: TypeAlias = tuple[int, tuple[int, ...], tuple[int, ...], str]
"""Where in memory an array lies, and how."""

KEPT = 8  # predictions: a board asks for all metrics of one contender's seeds, then for the next one's
_kept: dict[tuple[Count, int], tuple[Sequence[ref[Array]], list[Place], Arrays]] = {}
_last: tuple[Array, Array] | None = None


def checked(truth: Array, prediction: Array, *, matrix: bool) -> tuple[Array, Array]:
    """Both as arrays, the prediction float64. Raises ValueError for shapes that don't agree and values not finite."""
    truth, prediction = np.asarray(truth), np.asarray(prediction, np.float64)
    if prediction.ndim != (2 if matrix else 1) or len(truth) != len(prediction):
        raise ValueError(f"a prediction of shape {prediction.shape} can't be scored against {truth.shape}")
    if not len(truth):
        raise ValueError("there are no rows to score")
    bad = ~np.isfinite(prediction)
    if bad.any():
        row = int(np.flatnonzero(bad.reshape(len(bad), -1).any(1))[0])
        raise ValueError(f"{int(bad.sum())} predicted values are not finite, the first in row {row}")
    return truth, prediction


def weights(rows: Array, items: int) -> Array:
    """How often each item is in each resample, float64 [R, N], from indices [R, n].

    The last answer is kept where `rows` is read-only: a board asks for many metrics of the same resamples.
    """
    global _last
    if _last is not None and _same(_last[0], rows) and _last[1].shape[1] == items:
        return _last[1]
    flat = (np.asarray(rows) + items * np.arange(len(rows))[:, None]).ravel()
    found = np.bincount(flat, minlength=len(rows) * items).reshape(len(rows), items).astype(np.float64)
    if not (rows.flags.writeable or _owner(rows).flags.writeable):
        _last = rows, found
    return found


def once(count: Count, truth: Array, prediction: Array, *rows: Array) -> Arrays:
    """What `count` finds, counted once for several metrics if none of the arrays can change.

    Each metric is given views of its own, so it is by what they view that arrays are known again. Kept for the last
    few predictions, and no longer than they live.
    """
    given = (prediction, truth, *rows)
    owners = [_owner(array) for array in given]
    if any(array.flags.writeable for array in (*given, *owners)):
        return count(truth, prediction, *rows)
    key = count, id(owners[0])
    places = [_place(array) for array in given]
    of, known, found = _kept.get(key, ((), [], ()))
    if known == places and all(one() is owner for one, owner in zip(of, owners, strict=True)):
        return found
    found = count(truth, prediction, *rows)
    _kept.pop(key, None)
    _kept[key] = [ref(owners[0], lambda _: _kept.pop(key, None)), *map(ref, owners[1:])], places, found
    if len(_kept) > KEPT:
        del _kept[next(iter(_kept))]
    return found


def _owner(array: Array) -> Array:
    """The array that a view is of."""
    return array.base if isinstance(array.base, np.ndarray) else array


def _place(array: Array) -> Place:
    return array.ctypes.data, array.shape, array.strides, array.dtype.str


def _same(one: Array, other: Array) -> bool:
    """Whether both are views of one array, and alike."""
    return _owner(one) is _owner(other) and _place(one) == _place(other)


def means(items: Array, rows: Array) -> Array:
    """The mean of one number an item [N] over each resample, [R]."""
    return np.asarray(weights(rows, len(items)) @ items.astype(np.float64) / rows.shape[1])


def ratio(above: Array, below: Array) -> Array:
    """above / below, and 0 where below is 0."""
    return np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=below > 0)


def where(defined: Array, values: Array) -> Array:
    """The values, and NaN for a resample in which there is none."""
    return np.where(defined, values, np.nan)


def mean_where(values: Array, use: Array) -> Array:
    """The mean over the last axis of the values in use; NaN where none is."""
    count = use.sum(-1)
    total = np.where(use, values, 0).sum(-1)
    return where(count > 0, total / np.maximum(count, 1))


def area_under_roc(positive: Array, scores: Array, weight: Array) -> tuple[Array, Array]:
    """The chance that a positive scores above a negative, ties counting half, [R]; and whether there are both, [R].

    positive bool [N], scores [N], weight [R, N].
    """
    group, starts = _groups(scores)
    ups = np.add.reduceat((weight * positive)[:, group], starts, axis=1)
    downs = np.add.reduceat((weight * ~positive)[:, group], starts, axis=1)
    below = np.cumsum(downs, axis=1) - downs / 2
    pairs = ups.sum(1) * downs.sum(1)
    return ratio((ups * below).sum(1), pairs), pairs > 0


def average_precision(positive: Array, scores: Array, weight: Array) -> tuple[Array, Array]:
    """Sum over thresholds of (gain in recall) x precision, [R]; and whether there is a positive, [R]."""
    group, starts = _groups(-scores)
    ups = np.add.reduceat((weight * positive)[:, group], starts, axis=1)
    every = np.add.reduceat(weight[:, group], starts, axis=1)
    precision = ratio(np.cumsum(ups, axis=1), np.cumsum(every, axis=1))
    total = ups.sum(1)
    return ratio((ups * precision).sum(1), total), total > 0


def ranks(values: Array, weight: Array) -> Array:
    """The rank of each item's value within each resample, from 1, ties sharing their mean rank; [R, N]."""
    group, starts = _groups(values)
    sizes = np.add.reduceat(weight[:, group], starts, axis=1)
    middle = np.cumsum(sizes, axis=1) - (sizes - 1) / 2
    found = np.empty_like(weight)
    found[:, group] = np.repeat(middle, np.diff([*starts, len(values)]), axis=1)
    return found


def _groups(values: Array) -> tuple[Array, Array]:
    """The order that sorts values [N], and where in it each run of equal values starts."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    return order, np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
