"""Baselines that train no encoder: scikit-learn on `Encoder.summary` vectors, {modality: float32 [N, D_m]}.

y tells the target: integers [N] are classes, floats [N] a number, [N, L] of 0 and 1 any of L labels.
The estimators are in `mmbench_fusion.modules.baseline`.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params

MATCH = "predicts a target from one row, and a match is a question about two"
TEXT = "predicts classes and numbers, and writes no text"


GUESSES = {"label": "", "labels": "", "number": "", "text": "", "match": MATCH}
"""What a guess can be made of, and why not."""
LEARNS = GUESSES | {"text": TEXT}


def _misfit(task: mb.Task, reasons: Mapping[str, str] = LEARNS) -> str | None:
    """Why the target can't be predicted. Its type tells what y means: of an unknown one nothing is guessed."""
    known = ", ".join(name for name, reason in reasons.items() if not reason)
    unknown = f"predicts {known}; what a {task.target.type} is it can't know, unless its target says what it is `like`"
    return reasons.get(task.target.form, unknown) or None


class Majority(mb.Fusion):
    """What a guess without looking gets: the most frequent class or text, or the mean.

        label: the most frequent class of train, with probability 1      labels: each label's share of train
        number: the mean of train        text: the most frequent one of train

    Missing modalities change nothing.
    """

    name = "majority"
    level = "estimator"
    libraries = ("sklearn.linear_model", "sklearn.ensemble")

    def supports(self, task: mb.Task) -> str | None:
        return _misfit(task, GUESSES)

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import baseline

        return baseline.MajorityEstimator(width)


class Logistic(mb.Fusion):
    """Logistic regression on the joined, standardised plain features (ridge regression for numbers).

        label: softmax(W s + b), minimising C * log loss + |W|^2 / 2, with s = standardise([x_1; ...; x_M])
        labels: one such sigmoid for each label      number: ridge regression with penalty 1 / C

    A missing modality is the zeros that the engine puts in its place, before standardising.
    """

    name = "logistic"
    source = "https://scikit-learn.org/stable/modules/linear_model.html#logistic-regression"
    level = "estimator"
    libraries = ("sklearn.linear_model", "sklearn.ensemble")
    space = {"C": mb.Float(1e-4, 10.0, log=True, default=0.01)}

    def supports(self, task: mb.Task) -> str | None:
        return _misfit(task)

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import baseline

        return baseline.logistic(width, **params)


class Forest(mb.Fusion):
    """Extremely randomised trees (Geurts 2006) on the joined plain features: what a strong tabular baseline gets.

        the mean of 100 trees, each grown on all rows; a node takes the best of random cuts, one for each of
        `breadth` * sqrt(D) features drawn from all D, until a leaf holds `leaf` rows

    A missing modality is the zeros that the engine puts in its place.
    """

    name = "forest"
    source = "https://doi.org/10.1007/s10994-006-6226-1"
    level = "estimator"
    libraries = ("sklearn.linear_model", "sklearn.ensemble")
    space = {
        "leaf": mb.Int(1, 4, log=True, default=1),
        "breadth": mb.Float(1.0, 4.0, log=True, default=1.0),
    }

    def supports(self, task: mb.Task) -> str | None:
        return _misfit(task)

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import baseline

        columns = sum(spec.width for spec in inputs.values())
        return baseline.forest(width, leaf=params["leaf"], share=min(1.0, params["breadth"] / columns**0.5))
