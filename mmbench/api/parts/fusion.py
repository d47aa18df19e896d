"""Fusions: several modalities' features to one vector, or to a decision."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from mmbench.api.parts.features import FeatureSpec
from mmbench.api.parts.part import Part
from mmbench.api.space import Params


class Fusion(Part):
    """Turns several modalities' features into one vector, or into a decision.

    level "feature": the module gives a vector [B, width]; the engine's head makes the decision.
    level "decision": the module gives logits [B, width]; `width` is then the number of outputs.
    level "estimator": `build` gives no module but an object with scikit-learn's `fit(X, y)` and
    `predict_proba(X)` or `predict(X)`, where X is {modality: float32 [N, D]} from `Encoder.summary`; what it draws at
    random it draws from NumPy's global generator, which the engine seeds, as it seeds torch's for modules.

    A module's `forward(features)` takes {modality: Features}, in a fixed order. It may also have
    `loss(fused, target) -> {name: scalar}`: terms added to the task's loss, except that the name "task" takes
    its place; and `on_epoch(epoch: Epoch)`. target: Label [B] long; Labels [B, L] float; Number [B] float,
    standardised; Match [B] float, 1 where the pair belongs together.
    """

    role = "fusion"
    level: ClassVar[Literal["feature", "decision", "estimator"]] = "feature"
    cohort: ClassVar[bool] = True
    """Whether its modules may train many configurations in one program: see `Objective`."""

    @property
    def about(self) -> str:
        return f"{self.level} level"

    @property
    def gives(self) -> tuple[str, ...]:
        """What its modules give without fail, of vector and logits: a head must be able to work with one of them."""
        return {"feature": ("vector",), "decision": ("logits",), "estimator": ()}[self.level]

    def build(self, inputs: Mapping[str, FeatureSpec], width: int, params: Params) -> Any:
        raise NotImplementedError
