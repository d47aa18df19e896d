"""One of several classes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import mmbench as mb
from mmbench.api.parts import State
from mmbench.api.space import Params

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]


class Label(mb.Head):
    """One of C classes: cross-entropy; predictions are probabilities [N, C].

    p = softmax(W d(gelu(norm(v))) + b)        v [B, width] the fusion's vector, W [C, width], d dropout
    """

    name = "label"
    target = mb.Label

    def fit(self, target: mb.Target, truth: "Array", names: Sequence[str] | None) -> State:
        return {"outputs": len(names or ())}

    def encode(self, state: State, truth: "Array") -> "Array":
        return truth.astype("int64", copy=False)

    def build(self, state: State, width: int | None, dropout: float, params: Params) -> Any:
        from mmbench_head.modules import decision

        return decision.Label(state["outputs"], width, dropout)

    def truth(self, rows: int, generator: "np.random.Generator") -> "Array":
        import numpy as np

        return generator.permutation(np.arange(rows) % 4)

    def extremes(self, rows: int) -> "list[Array]":
        import numpy as np

        return [np.array(classes * rows)[:rows] for classes in ([0, 1, 2, 3], [0, 1, 3], [2])]

    def fault(self, state: State, truth: "Array", predictions: "Array") -> str | None:
        import numpy as np

        if predictions.ndim != 2 or predictions.shape[1] != state["outputs"]:
            return f"{predictions.shape} is not [N, {state['outputs']}], a probability a class, also of one train lacks"
        if not np.isfinite(predictions).all() or (predictions < 0).any():
            return "a probability is negative or not finite"
        if not np.allclose(predictions.sum(1), 1, atol=1e-5):
            return "the probabilities of a row do not add up to 1"
        there = sorted(set(truth.tolist()))
        absent = sorted(set(range(state["outputs"])) - set(there))
        if predictions[:, absent].max(initial=0) > predictions[:, there].max(1).min():
            return f"the classes {absent}, which train lacks, are likelier than those it has"
        return None

    def guess(self, truth: "Array", generator: "np.random.Generator | None") -> "Array":
        import numpy as np

        exact = np.asarray(np.eye(4)[truth])
        if generator is None:
            return exact
        mixed: Array = 0.3 * exact + 0.7 * generator.dirichlet(np.ones(4), len(exact))
        return mixed
