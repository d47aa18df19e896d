"""Any number of several classes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import mmbench as mb
from mmbench.api.parts import State
from mmbench.api.space import Params

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]


class Labels(mb.Head):
    """Any of L classes: binary cross-entropy for each; predictions are probabilities [N, L].

    p = sigmoid(W d(gelu(norm(v))) + b)        v [B, width] the fusion's vector, W [L, width], d dropout
    """

    name = "labels"
    target = mb.Labels

    def fit(self, target: mb.Target, truth: "Array", names: Sequence[str] | None) -> State:
        return {"outputs": truth.shape[1]}

    def encode(self, state: State, truth: "Array") -> "Array":
        return truth.astype("float32", copy=False)

    def build(self, state: State, width: int | None, dropout: float, params: Params) -> Any:
        from mmbench_head.modules import decision

        return decision.Labels(state["outputs"], width, dropout)

    def truth(self, rows: int, generator: "np.random.Generator") -> "Array":
        import numpy as np

        flags: Array = (np.arange(5 * rows).reshape(rows, 5) % 3 == 0).astype(np.int64)
        return generator.permutation(flags)

    def extremes(self, rows: int) -> "list[Array]":
        import numpy as np

        flags = np.random.default_rng(1).integers(0, 2, (rows, 5)).astype(np.float32)
        flags[:, 0], flags[:, 1] = 0, 1
        return [flags]

    def fault(self, state: State, truth: "Array", predictions: "Array") -> str | None:
        if predictions.ndim != 2 or predictions.shape[1] != state["outputs"]:
            return f"{predictions.shape} is not [N, {state['outputs']}], a probability a class"
        if not ((predictions >= 0) & (predictions <= 1)).all():
            return "a probability lies outside 0 to 1"
        never, always = ~truth.any(0), truth.all(0)
        if never.any() and always.any() and predictions[:, never].max() >= predictions[:, always].min():
            return "a class that is never there is as likely as one that always is"
        return None

    def guess(self, truth: "Array", generator: "np.random.Generator | None") -> "Array":
        exact: Array = truth.astype("float64")
        return exact if generator is None else 0.4 * exact + 0.6 * generator.random(exact.shape)
