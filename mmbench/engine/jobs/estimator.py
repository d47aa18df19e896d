"""Baselines that are scikit-learn estimators: one fit on plain vectors instead of a training."""

import time
from typing import Any

import numpy as np

from mmbench.api.parts import FeatureSpec
from mmbench.api.space import Params
from mmbench.engine.jobs.workspace import Workspace
from mmbench.engine.learn.model import Inputs
from mmbench.engine.learn.train import Fit
from mmbench.engine.space import settings
from mmbench.errors import TrainingError

NUMBERS = "biuf"
"""The kinds of array that hold numbers; others hold texts."""


def fit_estimator(workspace: Workspace, params: Params, seed: int) -> tuple[Any, Fit]:
    """Fit the configuration's estimator on train under `seed`; its score is that on validation."""
    np.random.seed(seed)  # what scikit-learn draws from unless told otherwise
    train, valid = workspace.inputs(params, "train"), workspace.inputs(params, "validation")
    fusion = workspace.catalog.fusions[params["fusion"]]
    vectors = workspace.summaries(params, train)
    specs = {m: FeatureSpec(width=v.shape[1], tokens=1) for m, v in vectors.items()}
    own = settings(fusion, params, f"fusion.{fusion.name}")
    estimator = fusion.build(specs, workspace.state["outputs"], own)
    started = time.perf_counter()
    estimator.fit(vectors, workspace.truth["train"])
    seconds = time.perf_counter() - started
    score = workspace.score(predict_estimator(workspace, params, estimator, valid))
    return estimator, Fit(score=score, train_seconds=seconds, rows=train.n)


def predict_estimator(workspace: Workspace, params: Params, estimator: Any, inputs: Inputs) -> "np.ndarray[Any, Any]":
    """Predictions as metrics want them: probabilities [N, outputs], or what else the head asks for."""
    vectors = workspace.summaries(params, inputs)
    ask = getattr(estimator, workspace.head.asks, None) or estimator.predict
    predictions = np.asarray(ask(vectors))
    if predictions.dtype.kind not in NUMBERS:
        return predictions
    if not np.isfinite(predictions).all():
        raise TrainingError("the estimator's predictions are not finite")
    return predictions.astype(np.float32)
