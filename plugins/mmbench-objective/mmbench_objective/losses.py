"""Losses in place of the task's. The modules are in `mmbench_objective.modules.losses`.

z are the logits [B, C] (labels [B, L], a number [B, 1]), y the truth; the loss is the mean over rows, of labels over
rows and labels. Each takes the place of the head's loss, and of one that a fusion brings instead of it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import mmbench as mb
from mmbench.api.space import Params


class _Loss(mb.Objective):
    """A loss for some types of target."""

    targets: ClassVar[tuple[str, ...]]
    module: ClassVar[str]

    def supports(self, task: mb.Task) -> str | None:
        kind = task.target.type
        return None if kind in self.targets else f"is a loss for {' and '.join(self.targets)}, not for {kind}"

    def build(self, inputs: Mapping[str, mb.FeatureSpec], outputs: int, params: Params) -> Any:
        from mmbench_objective.modules import losses

        return getattr(losses, self.module)(**params)


class Focal(_Loss):
    """Focal loss: rows that are right already count less.

        loss = - (1 - p)^gamma log p                  p the probability of the true class
        loss = - a (1 - p)^gamma log p                of each label: a = alpha where it is there, else 1 - alpha

    gamma = 0 is cross-entropy. The authors' setting is gamma 2, alpha 0.25; alpha is for labels alone.
    """

    name = "focal"
    source = "arXiv:1708.02002"
    targets, module = ("label", "labels"), "Focal"
    space = {"gamma": mb.Float(0.5, 5.0, default=2.0), "alpha": mb.Float(0.1, 0.9, default=0.25, searched=False)}


class LabelSmoothing(_Loss):
    """Label smoothing: the truth is believed but for epsilon, which is shared by all classes.

        loss = - (1 - epsilon) log p_y - epsilon / C sum over c of log p_c
        loss = - s log p - (1 - s) log(1 - p),  s = y (1 - epsilon) + epsilon / 2          of each label

    The authors' setting is 0.1.
    """

    name = "label_smoothing"
    source = "arXiv:1512.00567"
    targets, module = ("label", "labels"), "LabelSmoothing"
    space = {"epsilon": mb.Float(0.01, 0.4, default=0.1)}


class ClassWeights(_Loss):
    """Class weights: rows of rare classes count more, by the counts of train.

        loss = - sum over rows of w_y log p_y / sum over rows of w_y        w_c = (N / (C n_c))^power
        loss = - w_l y log p - (1 - y) log(1 - p)                           of each label: w_l = ((N - n_l) / n_l)^power

    n are the counts in train, N its rows; power 1 is scikit-learn's "balanced", 0 no weights. A class that train lacks
    has weight 1.
    """

    name = "class_weights"
    source = "https://scikit-learn.org/stable/modules/generated/sklearn.utils.class_weight.compute_class_weight.html"
    targets = ("label", "labels")
    space = {"power": mb.Float(0.1, 1.0, default=1.0)}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], outputs: int, params: Params) -> Any:
        from mmbench_objective.modules import losses

        return losses.ClassWeights(outputs, **params)


class Huber(_Loss):
    """Huber loss: squared error near the truth, absolute error far from it.

        loss = r^2 / 2 where |r| <= delta, else delta (|r| - delta / 2)         r = z - y, y standardised by train

    Where delta is larger than every error it is half the squared error.
    """

    name = "huber"
    source = "doi:10.1214/aoms/1177703732"
    targets, module = ("number",), "Huber"
    space = {"delta": mb.Float(0.1, 3.0, log=True, default=1.0)}


class MAE(_Loss):
    """Mean absolute error in place of the squared one: asks for the median.

    loss = |z - y|        y standardised by train
    """

    name = "mae_loss"
    targets, module = ("number",), "MAE"


class Asymmetric(_Loss):
    """Asymmetric loss for several labels: easy absences hardly count.

        loss = - (1 - p)^g_there log p                              where the label is there
        loss = - q^g_absent log(1 - q),  q = max(p - margin, 0)     where it is not

    The authors' setting is g_there 0 (1 for some), g_absent 4, margin 0.05. They add the labels up; here is their mean.
    """

    name = "asymmetric"
    source = "arXiv:2009.14119"
    targets, module = ("labels",), "Asymmetric"
    space = {
        "gamma_there": mb.Float(0.0, 2.0, default=0.0),
        "gamma_absent": mb.Float(1.0, 6.0, default=4.0),
        "margin": mb.Float(0.0, 0.2, default=0.05),
    }
