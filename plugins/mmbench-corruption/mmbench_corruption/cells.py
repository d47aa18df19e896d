"""Tables with cells that are missing or of other rows; and values of any kind that are another row's."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench.api.data import KINDS
from mmbench.api.space import Params
from mmbench_corruption.rows import ByRow, unless_same

if TYPE_CHECKING:
    import numpy as np


class MissingCells(ByRow):
    """Missing cells: each becomes NaN with a probability of severity * rate."""

    name = "missing_cells"
    kinds = ("tabular",)
    space = {"rate": mb.Float(0.2, 1.0, default=0.9)}

    def damaged(self, value: Any, severity: float, generator: "np.random.Generator", **settings: Any) -> Any:
        import numpy as np

        array = np.asarray(value)
        lost = generator.random(array.shape) < severity * settings["rate"]
        return unless_same(np.where(lost, np.nan, array), value)


class ShuffledCells(mb.Corruption):
    """Shuffled cells: each is that of another row, in the same column, with a probability of severity * rate.

    The cells of a column that are to change go round among themselves in a random order, so that the column as a whole
    holds what it held; a lone one stays.
    """

    name = "shuffled_cells"
    kinds = ("tabular",)
    space = {"rate": mb.Float(0.2, 1.0, default=0.9)}

    def apply(
        self, column: Sequence[Any], severity: float, generator: "np.random.Generator", params: Params
    ) -> list[Any]:
        import numpy as np

        there = [place for place, value in enumerate(column) if value is not None]
        if severity == 0 or not there:
            return list(column)
        table = np.stack([np.asarray(column[place]) for place in there])
        changes = generator.random(table.shape) < severity * float(params.get("rate", self.space["rate"].default))
        mixed = table.copy()
        for cell in range(table.shape[1]):
            rows = generator.permutation(np.flatnonzero(changes[:, cell]))
            mixed[rows, cell] = table[np.roll(rows, 1), cell]
        found = list(column)
        for place, row in zip(there, mixed, strict=True):
            found[place] = unless_same(row, column[place])
        return found


class Contradiction(mb.Corruption):
    """Contradiction: each row shows another row's value with a probability of `severity`.

    One number in [0, 1) is drawn for each row, and the row is wrong if it lies below the severity, so that under the
    same seed a higher severity has the rows of a lower one, and more. Wrong rows go round among themselves in a random
    order; a lone one takes the value of any other row. The other modalities stay as they are and contradict it.
    """

    name = "contradiction"
    kinds = KINDS

    def apply(
        self, column: Sequence[Any], severity: float, generator: "np.random.Generator", params: Params
    ) -> list[Any]:
        import numpy as np

        there = np.array([place for place, value in enumerate(column) if value is not None], dtype=np.int64)
        wrong = there[generator.random(len(column))[there] < severity]
        found = list(column)
        if len(wrong) == 1 and len(there) > 1:
            found[int(wrong[0])] = column[int(generator.choice(there[there != wrong[0]]))]
        elif len(wrong) > 1:
            order = generator.permutation(wrong)
            for place, other in zip(order, np.roll(order, 1), strict=True):
                found[int(place)] = column[int(other)]
        return [old if _equal(new, old) else new for new, old in zip(found, column, strict=True)]


def _equal(new: Any, old: Any) -> bool:
    """Whether another row's value is the same text: it is then no new value."""
    return isinstance(old, str) and new == old
