"""Heads: what a type of target means, from its labels to what is learned, and from there to predictions.

A `Target` (`mmbench.api.data`) is what a data set says of its truth; its head has the same name as the target's `type`
and is found by it in the Catalog. plan, workspace, model and the contract tests ask the head, and no one else knows
types of target.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from mmbench.api.data import Target, Task
from mmbench.api.parts.fusion import Fusion
from mmbench.api.parts.part import Part, State
from mmbench.api.space import Params

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    Array: TypeAlias = np.ndarray[Any, Any]


class Head(Part):
    """Decides: a fusion's result becomes what is learned, and what metrics score.

    `fit` learns from the truth of the train rows, `encode` turns a split's truth into one array, a row each, and
    `build` gives a module with these methods:

        forward(fused) -> Fused         what the fusion gave, with what the head adds to it, such as logits [B, outputs]
        loss(fused, target) -> scalar   what training makes smaller; target is what `encode` gave of the batch's rows
        predict(fused) -> Tensor        [B, ...], which `decode` turns into what metrics score

    It may also have

        arrange(features, target) -> (features, target)     what the fusion judges in training, if not the rows
        compare(features, judge, pool) -> Tensor            predictions of a whole split, where rows meet each other:
                                                            judge(features) -> Fused; pool: only among so many
        together() -> module                                itself, as it is fastest where many models train as one
    """

    role = "head"
    target: ClassVar[type[Target]]
    """The target that it decides; `name` is its `type`."""
    needs: ClassVar[tuple[str, ...]] = ("vector", "logits")
    """What it can work with of what a fusion gives, "tokens", "vector" or "logits"; one of them must be there."""
    pairs: ClassVar[bool] = False
    """Whether pairs of rows are judged: predictions are then [N, N], and no estimator of rows fits."""
    asks: ClassVar[str] = "predict_proba"
    """What an estimator is asked by; `predict` where it has no such method."""
    most_rows: ClassVar[int] = 1_000_000
    """The largest batch that training may take at once."""
    cohort: ClassVar[bool] = True
    """Whether its modules may train many configurations in one program: see `Objective`."""

    @property
    def about(self) -> str:
        return f"needs {' or '.join(self.needs)}"

    def concerns(self, task: Task) -> bool:
        return task.target.type == self.name

    def misfit(self, fusion: Fusion) -> str | None:
        """None if it can work with what `fusion` gives, else the reason, as the board shows it."""
        if not fusion.gives or set(fusion.gives) & set(self.needs):
            return None
        return f"gives {' and '.join(fusion.gives)}, a {self.name} needs {' or '.join(self.needs)}"

    def fit(self, target: Target, truth: "Array", names: Sequence[str] | None) -> State:
        """Learn from the truth of train. `names` are those of the classes, if the target has any. The state has at
        least "outputs", the number of logits a row."""
        raise NotImplementedError

    def encode(self, state: State, truth: "Array") -> "Array":
        """The truth as the module's `loss` wants it, [N, ...], numbers."""
        return truth

    def renamed(self, state: State, names: Mapping[str, str]) -> State:
        """The state, where modalities have other names in modules, {modality: name}: torch can't hold them all."""
        return state

    def build(self, state: State, width: int | None, dropout: float, params: Params) -> "nn.Module":
        """The module. `width` is that of the fusion's vector and tokens; None where the fusion gives logits."""
        raise NotImplementedError

    def decode(self, state: State, predictions: "Array") -> "Array":
        """What `predict` gave of a split, as metrics score it: numbers or texts."""
        return predictions

    def example(self, modalities: Sequence[str]) -> Target:
        """A target of this type about these modalities, for the contract tests."""
        return self.target("y")  # type: ignore[call-arg]

    def truth(self, rows: int, generator: "np.random.Generator") -> "Array":
        """Some truth, for the contract tests: a few classes, words, ..., each of which comes up in 20 rows."""
        raise NotImplementedError

    def extremes(self, rows: int) -> "list[Array]":
        """Truths that train may hold, for the contract of estimators: with a class that is never there, say."""
        import numpy as np

        return [self.truth(rows, np.random.default_rng(1))]

    def fault(self, state: State, truth: "Array", predictions: "Array") -> str | None:
        """What is wrong with an estimator's predictions after this truth of train, None if nothing."""
        return None

    def guess(self, truth: "Array", generator: "np.random.Generator | None") -> "Array":
        """Predictions for it as metrics score them: some that know something, but not all; without a generator those
        that no other beats."""
        raise NotImplementedError
