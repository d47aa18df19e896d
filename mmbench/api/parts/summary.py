"""The default of `Encoder.summary`: one plain vector a row, for baselines that train no encoder."""

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]


def summarise(arrays: "dict[str, Array]") -> "Array":
    """Join arrays [N, ...] to float32 [N, D]: vectors as they are, [N, T, ...] by mean and deviation over T.

    A bool array "mask" [N, T] leaves steps out of mean and deviation.
    """
    import numpy as np

    mask = arrays.get("mask")
    parts = []
    for name in sorted(arrays):
        array = arrays[name]
        if name == "mask":
            continue
        values = np.asarray(array, dtype=np.float32)
        if values.ndim == 1:
            values = values[:, None]
        if values.ndim > 2:
            steps = values.reshape(*values.shape[:2], -1)
            use = np.ones(steps.shape[:2], bool) if mask is None or mask.shape != steps.shape[:2] else mask
            weight = use[..., None] / np.maximum(use.sum(1), 1)[:, None, None]
            mean = (steps * weight).sum(1)
            deviation = np.sqrt((np.square(steps - mean[:, None]) * weight).sum(1))
            values = np.concatenate([mean, deviation], axis=1)
        parts.append(values)
    return np.concatenate(parts, axis=1).astype(np.float32)
