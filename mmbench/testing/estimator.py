"""The contract of a fusion of the level "estimator": scikit-learn's fit and predict on plain vectors, as tests.

Use it through `mmbench.testing.fusion.FusionContract`.
"""

from typing import Any, ClassVar

import numpy as np

from mmbench.api.parts import FeatureSpec, Fusion
from mmbench.api.space import Params, defaults
from mmbench.testing.features import INPUTS
from mmbench.testing.part import settings, tasks

Array = np.ndarray[Any, Any]
ROWS = 40


class EstimatorRules:
    """What holds for the object that `build` gives."""

    part: ClassVar[type[Fusion]]
    outputs: ClassVar[int] = 4

    def test_label(self) -> None:
        """Probabilities [N, outputs] in the order of the classes' index, also of a class that train lacks."""
        if not self._supports("label"):
            return
        for classes in ([0, 1, 2, 3], [0, 1, 3], [2]):
            y = np.array(classes * ROWS)[:ROWS]
            probabilities = self._fit(y).predict_proba(_vectors(5))
            assert probabilities.shape == (5, self.outputs), f"{probabilities.shape} for train classes {classes}"
            assert np.isfinite(probabilities).all()
            assert (probabilities >= 0).all()
            np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
            absent = sorted(set(range(self.outputs)) - set(classes))
            assert probabilities[:, absent].max(initial=0) <= probabilities[:, classes].max(1).min()

    def test_labels(self) -> None:
        """Probabilities [N, outputs], each between 0 and 1, also of a label that is never or always there."""
        if not self._supports("labels"):
            return
        y = np.random.default_rng(1).integers(0, 2, (ROWS, self.outputs)).astype(np.float32)
        y[:, 0], y[:, 1] = 0, 1
        probabilities = self._fit(y).predict_proba(_vectors(5))
        assert probabilities.shape == (5, self.outputs)
        assert ((probabilities >= 0) & (probabilities <= 1)).all()
        assert (probabilities[:, 0] < probabilities[:, 1]).all(), "a label never there beats one always there"

    def test_number(self) -> None:
        """Numbers [N], in the unit of y."""
        if not self._supports("number"):
            return
        y = 1000 + np.random.default_rng(1).normal(size=ROWS)
        numbers = self._fit(y, outputs=1).predict(_vectors(5))
        assert numbers.shape == (5,)
        assert ((numbers > 900) & (numbers < 1100)).all(), "the unit of y is lost"

    def test_fit_again(self) -> None:
        """The same rows and seed give the same predictions, whatever the dicts' order."""
        y = np.arange(ROWS) % self.outputs
        np.random.seed(5)
        one = self._fit(y)
        np.random.seed(5)
        two = self.part().build(_specs(reverse=True), self.outputs, self.params())
        two.fit(dict(reversed(_vectors(ROWS).items())), y)
        vectors = _vectors(5)
        np.testing.assert_allclose(one.predict_proba(vectors), two.predict_proba(vectors), atol=1e-6)

    def test_fit_keeps_the_vectors(self) -> None:
        """The vectors belong to the feature store: nothing may be changed in place."""
        X, y = _vectors(ROWS), np.arange(ROWS) % self.outputs
        self.part().build(_specs(), self.outputs, self.params()).fit(X, y)
        for modality, expected in _vectors(ROWS).items():
            np.testing.assert_array_equal(X[modality], expected)

    def test_every_setting_fits(self) -> None:
        """Every configuration that the space allows can be fitted."""
        for params in settings(self.part.space, 5):
            probabilities = self._fit(np.arange(ROWS) % self.outputs, params=params).predict_proba(_vectors(5))
            assert np.isfinite(probabilities).all(), params

    def params(self) -> Params:
        return defaults(self.part.space)

    def _supports(self, target: str) -> bool:
        return self.part().supports(tasks(tuple(INPUTS))[target]) is None

    def _fit(self, y: Array, outputs: int | None = None, params: Params | None = None) -> Any:
        chosen = self.params() if params is None else params
        estimator = self.part().build(_specs(), outputs or self.outputs, chosen)
        estimator.fit(_vectors(ROWS), y)
        return estimator


def _specs(*, reverse: bool = False) -> dict[str, FeatureSpec]:
    items = [(m, FeatureSpec(spec.width, 1)) for m, spec in INPUTS.items()]
    return dict(reversed(items) if reverse else items)


def _vectors(rows: int) -> dict[str, Array]:
    """Plain vectors; one modality is missing, so zero, in every third row."""
    generator = np.random.default_rng(0)
    made = {m: generator.normal(size=(rows, spec.width)).astype(np.float32) for m, spec in INPUTS.items()}
    made["text"][::3] = 0
    return made
