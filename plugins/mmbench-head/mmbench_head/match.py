"""Cross-modal retrieval: which left belongs to which right."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import mmbench as mb
from mmbench.api.parts import State
from mmbench.api.space import Params

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]


class Match(mb.Head):
    """Retrieval: the fusion judges pairs; InfoNCE in both directions; predictions are scores [N, N].

        loss = (cross_entropy(S, diagonal) + cross_entropy(S^T, diagonal)) / 2
        S_ij = logit of row i's left with row j's right         [B, B]

    Pairs grow with the square of rows, so a batch has at most 32, and while training, validation asks for the match
    among 64 candidates; test asks for it among all.
    """

    name = "match"
    target = mb.Match
    source = "arXiv:1807.03748"
    pairs = True
    most_rows = 32
    cohort = False

    def supports(self, task: mb.Task) -> str | None:
        if not all(set(side) & set(task.modalities) for side in task.target.sides):
            return "retrieval needs a modality of each side"
        return None

    def fit(self, target: mb.Target, truth: "Array", names: Sequence[str] | None) -> State:
        return {"outputs": 1, "left": list(target.sides[0])}

    def renamed(self, state: State, names: Mapping[str, str]) -> State:
        return {**state, "left": [names.get(modality, modality) for modality in state["left"]]}

    def build(self, state: State, width: int | None, dropout: float, params: Params) -> Any:
        from mmbench_head.modules import match

        return match.Match(width, dropout, left=state["left"])

    def example(self, modalities: Sequence[str]) -> mb.Target:
        return mb.Match(left=tuple(modalities[:1]), right=tuple(modalities[1:]))

    def truth(self, rows: int, generator: "np.random.Generator") -> "Array":
        import numpy as np

        return np.arange(rows)

    def guess(self, truth: "Array", generator: "np.random.Generator | None") -> "Array":
        import numpy as np

        exact = np.asarray(np.eye(len(truth))[truth])
        return exact if generator is None else exact + generator.normal(size=exact.shape)
