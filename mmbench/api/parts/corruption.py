"""Corruptions: damaged values, by severity."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from mmbench.api.parts.part import Part
from mmbench.api.space import Params

if TYPE_CHECKING:
    import numpy as np


class Corruption(Part):
    """Damages the raw values of one column, by a severity from 0 (nothing) to 1.

    A value that is left alone is given back as the same object, so that its features need no new computing.
    """

    role = "corruption"
    kinds: ClassVar[tuple[str, ...]]
    """Which kinds of modality it damages."""

    @property
    def about(self) -> str:
        return f"damages {', '.join(self.kinds)}"

    def kinds_read(self) -> Sequence[str]:
        return self.kinds

    def apply(
        self, column: Sequence[Any], severity: float, generator: "np.random.Generator", params: Params
    ) -> list[Any]:
        raise NotImplementedError
