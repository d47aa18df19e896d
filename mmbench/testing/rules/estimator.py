"""The contract of a fusion of the level "estimator": scikit-learn's fit and predict on plain vectors, as tests.

Use it through `mmbench.testing.fusion.FusionContract`.
"""

from typing import Any, ClassVar

import numpy as np

from mmbench.api.parts import FeatureSpec, Fusion
from mmbench.api.parts.head import Head
from mmbench.api.space import Params, defaults
from mmbench.testing.rules.features import INPUTS
from mmbench.testing.rules.part import heads, settings, tasks, tried

Array = np.ndarray[Any, Any]
ROWS = 40


class EstimatorRules:
    """What holds for the object that `build` gives, for each type of target that it supports."""

    part: ClassVar[type[Fusion]]

    def test_predictions(self) -> None:
        """What metrics score, also where train lacks a class or holds one everywhere: see `Head.fault`."""
        for head in self._heads():
            for truth in head.extremes(ROWS):
                state = tried(head, tuple(INPUTS), ROWS)[0]
                fault = head.fault(state, truth, self._predict(self._fit(head, truth), head))
                assert fault is None, f"{head.name}: {fault}"

    def test_fit_again(self) -> None:
        """The same rows and seed give the same predictions, whatever the dicts' order."""
        for head in self._heads():
            state, y = tried(head, tuple(INPUTS), ROWS)
            np.random.seed(5)
            one = self._predict(self._fit(head, y), head)
            np.random.seed(5)
            again = self.part().build(_specs(reverse=True), state["outputs"], self.params())
            again.fit(dict(reversed(_vectors(ROWS).items())), y)
            two = self._predict(again, head)
            same = np.allclose(one, two, atol=1e-6) if one.dtype.kind == "f" else np.array_equal(one, two)
            assert same, f"{head.name}: the predictions differ"

    def test_fit_keeps_the_vectors(self) -> None:
        """The vectors belong to the feature store: nothing may be changed in place."""
        for head in self._heads():
            state, y = tried(head, tuple(INPUTS), ROWS)
            X = _vectors(ROWS)
            self.part().build(_specs(), state["outputs"], self.params()).fit(X, y)
            for modality, expected in _vectors(ROWS).items():
                np.testing.assert_array_equal(X[modality], expected)

    def test_every_setting_fits(self) -> None:
        """Every configuration that the space allows can be fitted."""
        head = self._heads()[0]
        state, y = tried(head, tuple(INPUTS), ROWS)
        for params in settings(self.part.space, 5):
            fault = head.fault(state, y, self._predict(self._fit(head, y, params=params), head))
            assert fault is None, f"{params}: {fault}"

    def params(self) -> Params:
        return defaults(self.part.space)

    def _heads(self) -> list[Head]:
        """Those whose type of target it supports."""
        found = tasks(tuple(INPUTS))
        return [heads()[target] for target, task in found.items() if self.part().supports(task) is None]

    def _fit(self, head: Head, y: Array, params: Params | None = None) -> Any:
        chosen = self.params() if params is None else params
        estimator = self.part().build(_specs(), tried(head, tuple(INPUTS), ROWS)[0]["outputs"], chosen)
        estimator.fit(_vectors(ROWS), y)
        return estimator

    def _predict(self, estimator: Any, head: Head) -> Array:
        ask = getattr(estimator, head.asks, None) or estimator.predict
        return np.asarray(ask(_vectors(5)))


def _specs(*, reverse: bool = False) -> dict[str, FeatureSpec]:
    items = [(m, FeatureSpec(spec.width, 1)) for m, spec in INPUTS.items()]
    return dict(reversed(items) if reverse else items)


def _vectors(rows: int) -> dict[str, Array]:
    """Plain vectors; one modality is missing, so zero, in every third row."""
    generator = np.random.default_rng(0)
    made = {m: generator.normal(size=(rows, spec.width)).astype(np.float32) for m, spec in INPUTS.items()}
    made["text"][::3] = 0
    return made
