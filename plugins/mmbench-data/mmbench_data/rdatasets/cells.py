"""Numbers and categories of a table as the numbers that a tabular modality holds.

A missing number is NaN, and where a column has such, a cell of its own says whether it is known. A category is a cell
for each of its values that comes up often enough in train, 0 or 1; a rarer value and a missing one are none of them,
and whether one is known is a cell of its own, too.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

OFTEN = 20
"""Rows of train in which a value of a category comes up at least, to have a cell."""


@dataclass
class Cells:
    """A table that is put together column by column; `train`: the rows that say which values come up often."""

    train: Sequence[int]
    columns: "dict[str, Array]" = field(default_factory=dict)
    """{name: float32 [N]}"""

    def numbers(self, given: "Mapping[str, Array]") -> None:
        """Add columns of numbers, NaN where one is missing."""
        import numpy as np

        for name, numbers in given.items():
            self.columns[name] = numbers.astype(np.float32)
            self._known(name, ~np.isnan(numbers))

    def category(self, name: str, values: Sequence[str | None]) -> None:
        """Add a category."""
        import numpy as np

        counts = Counter(values[row] for row in self.train)
        often = sorted(value for value, count in counts.items() if value is not None and count >= OFTEN)
        number = {value: place for place, value in enumerate(often)}
        places = np.array([number.get(value, -1) if value is not None else -1 for value in values])
        for value, place in number.items():
            self.columns[f"{name}: {value}"] = (places == place).astype(np.float32)
        self._known(name, np.array([value is not None for value in values]))

    def rows(self) -> "Array":
        """float32 [N, D]"""
        import numpy as np

        return np.stack(list(self.columns.values()), axis=1)

    def _known(self, name: str, known: "Array") -> None:
        import numpy as np

        if not known.all():
            self.columns[f"{name} is known"] = known.astype(np.float32)
