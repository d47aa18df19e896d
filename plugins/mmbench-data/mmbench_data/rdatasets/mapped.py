"""Rows that are too many for memory: written batch by batch to a file, which is then mapped."""

import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import DatasetDict, Features


def mapped(
    cache: Path, name: str, splits: "Mapping[str, Iterable[dict[str, Any]]]", features: "Features"
) -> "DatasetDict":
    """The rows of each split, given as batches of columns: {name: what `pyarrow.array` takes, or an array}.

    They lie in a folder below `cache`, which goes when they do.
    """
    import pyarrow as pa
    from datasets import Dataset, DatasetDict

    folder = TemporaryDirectory(prefix=f"{name}-", dir=cache)
    schema = features.arrow_schema
    found = DatasetDict()
    weakref.finalize(found, folder.cleanup)
    for split, batches in splits.items():
        file = Path(folder.name) / f"{split}.arrow"
        with pa.ipc.new_stream(str(file), schema) as out:
            for batch in batches:
                arrays = [_array(batch[field.name], field.type) for field in schema]
                out.write_table(pa.Table.from_arrays(arrays, schema=schema))
        found[split] = Dataset.from_file(str(file))
    return found


def _array(cells: Any, kind: "pa.DataType") -> "pa.Array":
    import pyarrow as pa

    return cells.cast(kind) if isinstance(cells, pa.Array) else pa.array(cells, kind)


def lists(numbers: Any, present: Any = None) -> "pa.Array":
    """An array [N, ...] as N lists, of lists where it has three dimensions; where `present` [N] is false, none."""
    import numpy as np
    import pyarrow as pa

    found = pa.array(numbers.reshape(-1))
    for depth in range(numbers.ndim - 1, 0, -1):
        count = int(np.prod(numbers.shape[:depth]))
        offsets = pa.array(np.arange(count + 1, dtype=np.int32) * numbers.shape[depth])
        mask = pa.array(~present) if depth == 1 and present is not None else None
        found = pa.ListArray.from_arrays(offsets, found, mask=mask)
    return found
