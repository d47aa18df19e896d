"""A real number."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import mmbench as mb
from mmbench.api.parts import State
from mmbench.api.space import Params

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]


class Number(mb.Head):
    """A real number, standardised by the train rows: squared error; predictions [N] in the target's unit.

    y = mean + deviation * (w d(gelu(norm(v))) + b)        v [B, width] the fusion's vector, w [width], d dropout
    """

    name = "number"
    target = mb.Number
    asks = "predict"

    def fit(self, target: mb.Target, truth: "Array", names: Sequence[str] | None) -> State:
        return {"outputs": 1, "mean": float(truth.mean()), "deviation": float(truth.std()) or 1.0}

    def encode(self, state: State, truth: "Array") -> "Array":
        standard: Array = ((truth - state["mean"]) / state["deviation"]).astype("float32")
        return standard

    def build(self, state: State, width: int | None, dropout: float, params: Params) -> Any:
        from mmbench_head.modules import decision

        return decision.Number(width, dropout, mean=state["mean"], deviation=state["deviation"])

    def truth(self, rows: int, generator: "np.random.Generator") -> "Array":
        return generator.normal(size=rows)

    def extremes(self, rows: int) -> "list[Array]":
        import numpy as np

        return [1000 + np.random.default_rng(1).normal(size=rows)]

    def fault(self, state: State, truth: "Array", predictions: "Array") -> str | None:
        if predictions.ndim != 1:
            return f"{predictions.shape} is not [N]"
        near = abs(predictions - truth.mean()) < 100 * truth.std()
        return None if near.all() else "the numbers are not in the unit of train's"

    def guess(self, truth: "Array", generator: "np.random.Generator | None") -> "Array":
        exact: Array = truth.astype("float64")
        return exact if generator is None else exact + generator.normal(size=exact.shape)
