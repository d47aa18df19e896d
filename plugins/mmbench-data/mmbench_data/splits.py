"""Fixed splits: which rows are train, validation and test, decided once by a seed that never changes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.data import SPLITS

if TYPE_CHECKING:
    import numpy as np
    from datasets import DatasetDict

    Array: TypeAlias = np.ndarray[Any, Any]

Rows: TypeAlias = "dict[str, list[int]]"
"""{split: indices of its rows}"""

SHARES = (0.6, 0.2, 0.2)


def stratified(labels: Sequence[Any]) -> Rows:
    """60, 20 and 20 in a hundred of each class, drawn at random, in the order of the rows."""
    import numpy as np

    generator = np.random.default_rng(0)
    found = np.asarray(labels)
    rows: Rows = {split: [] for split in SPLITS}
    for label in np.unique(found):
        members = generator.permutation(np.flatnonzero(found == label))
        cuts = np.round(np.cumsum(SHARES)[:-1] * len(members)).astype(int)
        for split, part in zip(SPLITS, np.split(members, cuts), strict=True):
            rows[split] += part.tolist()
    return {split: sorted(part) for split, part in rows.items()}


def by_group(groups: Sequence[Any], *, order: Sequence[Any] | None = None) -> Rows:
    """Whole groups (a person, a voice) go to one split: 60, 20 and 20 in a hundred of the groups.

    Groups are drawn at random, or taken in the `order` given.
    """
    import numpy as np

    found = np.asarray(groups)
    names = np.random.default_rng(0).permutation(np.unique(found)) if order is None else np.asarray(order)
    cuts = np.round(np.cumsum(SHARES)[:-1] * len(names)).astype(int)
    parts = zip(SPLITS, np.split(names, cuts), strict=True)
    return {split: np.flatnonzero(np.isin(found, part)).tolist() for split, part in parts}


def tables(columns: Mapping[str, Sequence[Any]], rows: Rows, features: Mapping[str, Any]) -> "DatasetDict":
    """The rows of `columns` ({name: N values}) by split, each column typed by its feature."""
    from datasets import Audio, Dataset, DatasetDict, Features, Value

    # `datasets` wants torchcodec to encode sounds, even those that are bytes already; so they go in as what they are
    # stored as, and get their feature afterwards.
    sounds = {name: feature for name, feature in features.items() if isinstance(feature, Audio)}
    stored = Features(dict(features) | {name: {"bytes": Value("binary"), "path": Value("string")} for name in sounds})
    splits = DatasetDict()
    for split, indices in rows.items():
        chosen = {name: [values[i] for i in indices] for name, values in columns.items()}
        splits[split] = Dataset.from_dict(chosen, features=stored)
    for name, feature in sounds.items():
        splits = splits.cast_column(name, feature)
    return splits
