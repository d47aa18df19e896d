"""Estimators of `mmbench_fusion.baseline`: `fit(X, y)`, then `predict(X)`, and `predict_proba(X)` unless y is numbers.

X is {modality: float32 [N, D_m]}. Probabilities are [N, outputs]: column k for class k, also where train has no
row of class k. `predict` gives the class [N], the labels [N, L] or the number [N].
"""

import warnings
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Array = np.ndarray[Any, Any]


class MajorityEstimator:
    def __init__(self, outputs: int):
        self.outputs = outputs

    def fit(self, X: Mapping[str, Array], y: Array) -> Self:
        self.target = target_type(y)
        if self.target == "label":
            self.guess = np.eye(self.outputs)[np.bincount(y, minlength=self.outputs).argmax()]
        elif self.target == "text":
            texts, counts = np.unique(y, return_counts=True)
            self.guess = texts[counts.argmax()]
        else:
            self.guess = y.mean(0, dtype=float)
        return self

    def predict_proba(self, X: Mapping[str, Array]) -> Array:
        return np.repeat(self.guess[None], len(join(X)), axis=0)

    def predict(self, X: Mapping[str, Array]) -> Array:
        if self.target == "text":
            return np.full(len(join(X)), self.guess, dtype=object)
        return decide(self.target, self.predict_proba(X))


class SkLearnEstimator:
    """A scikit-learn classifier (for labels, one for each) or regressor on the joined features."""

    def __init__(self, outputs: int, classifier: Any, regressor: Any):
        self.outputs, self.classifier, self.regressor = outputs, classifier, regressor

    def fit(self, X: Mapping[str, Array], y: Array) -> Self:
        self.target = target_type(y)
        joined = join(X)
        if self.target == "number":
            self.model = clone(self.regressor).fit(joined, y)
            return self
        columns = [y] if self.target == "label" else list(y.T)
        self.models = [self._classifier(joined, column.astype(int)) for column in columns]
        return self

    def predict_proba(self, X: Mapping[str, Array]) -> Array:
        joined = join(X)
        if self.target == "label":
            return self._columns(self.models[0], joined, self.outputs)
        return np.stack([self._columns(model, joined, 2)[:, 1] for model in self.models], axis=1)

    def predict(self, X: Mapping[str, Array]) -> Array:
        if self.target == "number":
            return np.asarray(self.model.predict(join(X)))
        return decide(self.target, self.predict_proba(X))

    def _classifier(self, joined: Array, classes: Array) -> Any:
        """The fitted model, or the only class there is."""
        if len(np.unique(classes)) == 1:
            return int(classes[0])
        with warnings.catch_warnings():
            # 300 steps of L-BFGS are part of the method: more change no digit that a metric shows.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return clone(self.classifier).fit(joined, classes)

    def _columns(self, model: Any, joined: Array, outputs: int) -> Array:
        probabilities = np.zeros((len(joined), outputs))
        if isinstance(model, int):
            probabilities[:, model] = 1
        else:
            probabilities[:, model.classes_] = model.predict_proba(joined)
        return probabilities


def logistic(outputs: int, C: float) -> SkLearnEstimator:
    return SkLearnEstimator(
        outputs,
        make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=300)),
        make_pipeline(StandardScaler(), Ridge(alpha=1 / C)),
    )


def forest(outputs: int, leaf: int, share: float) -> SkLearnEstimator:
    # random_state is left to NumPy's global generator, which whoever fits has seeded
    settings = {"n_estimators": 100, "min_samples_leaf": leaf, "max_features": share}
    return SkLearnEstimator(outputs, ExtraTreesClassifier(**settings), ExtraTreesRegressor(**settings))


def target_type(y: Array) -> str:
    """Which target y holds: "labels" [N, L], "text" (objects) [N], "label" (integers) [N], else "number" [N]."""
    if y.ndim == 2:
        return "labels"
    if y.dtype == object:
        return "text"
    return "label" if np.issubdtype(y.dtype, np.integer) else "number"


def join(X: Mapping[str, Array]) -> Array:
    """[x_1; ...; x_M], [N, sum of D_m], in the order of the sorted names."""
    return np.concatenate([X[m] for m in sorted(X)], axis=1)


def decide(target: str, guess: Array) -> Array:
    """What the guess [N, ...] comes to: the likeliest class, the likely labels, or the number itself."""
    if target == "label":
        return np.asarray(np.argmax(guess, axis=1))
    return np.astype(guess > 0.5, int) if target == "labels" else guess
