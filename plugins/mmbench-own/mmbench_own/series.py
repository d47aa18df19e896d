"""Series as Arrow holds them, lists of lists of numbers: made of arrays, and mended where numbers are not finite."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

ZERO = "zero"
"""unreadable = "zero": a number that is not finite becomes 0, as the field's code has it."""


def of_array(array: "Array") -> "pa.Array":
    """A number a row of [N], a list of [N, D], lists of lists of [N, T, D]; the numbers are not copied."""
    import numpy as np
    import pyarrow as pa

    native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    made = pa.array(native.reshape(-1))
    for depth in range(array.ndim - 1, 0, -1):
        made = _lists(made, np.full(int(np.prod(array.shape[:depth])), array.shape[depth]))
    return made


def ragged(steps: "Array", lengths: "Array") -> "pa.Array":
    """Rows of so many steps, which stand one after the other in [sum of lengths, D]; a row of none is missing."""
    return _lists(of_array(steps), lengths, lengths == 0)


def _lists(values: "pa.Array", lengths: "Array", gone: "Array | None" = None) -> "pa.Array":
    import numpy as np
    import pyarrow as pa

    offsets = np.concatenate([[0], np.cumsum(lengths)])
    small = offsets[-1] < 2**31
    kind = pa.ListArray if small else pa.LargeListArray
    mask = None if gone is None or not gone.any() else pa.array(gone)
    return kind.from_arrays(pa.array(offsets.astype(np.int32 if small else np.int64)), values, mask=mask)


def faulty(column: "pa.ChunkedArray") -> list[int]:
    """The rows with a number that is not finite."""
    rows: list[int] = []
    first = 0
    for chunk in column.chunks:
        if not _fine(chunk):
            rows += [first + row for row in range(len(chunk)) if not _fine(chunk[row : row + 1])]
        first += len(chunk)
    return rows


def mended(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """With 0 for each number that is not finite."""
    import pyarrow as pa

    return pa.chunked_array([_mended(chunk) for chunk in column.chunks])


def _is_list(kind: "pa.DataType") -> bool:
    import pyarrow.types as types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _fine(values: "pa.Array") -> bool:
    import numpy as np
    import pyarrow.types as types

    while _is_list(values.type):
        values = values.flatten()
    return not types.is_floating(values.type) or bool(np.isfinite(values.drop_null().to_numpy()).all())


def _mended(values: "pa.Array") -> "pa.Array":
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if _is_list(values.type):
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy()
        return _lists(_mended(values.flatten()), lengths, values.is_null().to_numpy(zero_copy_only=False))
    numbers = values.to_numpy(zero_copy_only=False)  # a missing number as NaN
    return pa.array(
        np.where(np.isfinite(numbers), numbers, numbers.dtype.type(0)), mask=values.is_null().to_numpy(False)
    )
