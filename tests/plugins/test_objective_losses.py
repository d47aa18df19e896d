"""Losses in place of the task's, against NumPy, scikit-learn or torch."""

from typing import Any

import numpy as np
import pytest
import torch
from mmbench_objective import losses
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

import mmbench as mb
from mmbench.api.space import defaults
from mmbench.testing.rules.features import INPUTS

ROWS, CLASSES = 12, 3
TRUTH = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 0])
FLAGS = (torch.arange(ROWS * CLASSES).reshape(ROWS, CLASSES) % 4 == 0).float()
NUMBERS = torch.linspace(-2, 2, ROWS)
LOGITS = 2 * torch.randn(ROWS, CLASSES, generator=torch.Generator().manual_seed(0))


def loss(part: type[mb.Objective], target: torch.Tensor, logits: torch.Tensor = LOGITS, **params: Any) -> float:
    module: Any = part().build(INPUTS, logits.shape[1], {**defaults(part.space), **params})
    if hasattr(module, "on_start"):
        module.on_start(target)
    found: float = module.task_loss(mb.Fused(logits=logits), target).item()
    return found


def test_focal() -> None:
    p = (np.exp(LOGITS.numpy()) / np.exp(LOGITS.numpy()).sum(1, keepdims=True))[np.arange(ROWS), TRUTH.numpy()]
    assert loss(losses.Focal, TRUTH, gamma=1.5) == pytest.approx(
        float((-((1 - p) ** 1.5) * np.log(p)).mean()), rel=1e-5
    )
    q, y = 1 / (1 + np.exp(-LOGITS.numpy())), FLAGS.numpy()
    each = np.where(y == 1, -0.25 * (1 - q) ** 2 * np.log(q), -0.75 * q**2 * np.log(1 - q))
    assert loss(losses.Focal, FLAGS) == pytest.approx(float(each.mean()), rel=1e-5)


def test_a_row_that_is_sure_has_a_finite_gradient() -> None:
    for part, target in ((losses.Focal, TRUTH), (losses.Focal, FLAGS), (losses.Asymmetric, FLAGS)):
        sure = (1000 * LOGITS).requires_grad_()
        module: Any = part().build(INPUTS, CLASSES, defaults(part.space))
        module.task_loss(mb.Fused(logits=sure), target).backward()
        assert sure.grad is not None
        assert sure.grad.isfinite().all()


def test_label_smoothing_is_torchs() -> None:
    expected = F.cross_entropy(LOGITS, TRUTH, label_smoothing=0.2)
    assert loss(losses.LabelSmoothing, TRUTH, epsilon=0.2) == pytest.approx(float(expected), rel=1e-5)
    expected = F.binary_cross_entropy_with_logits(LOGITS, 0.8 * FLAGS + 0.1)
    assert loss(losses.LabelSmoothing, FLAGS, epsilon=0.2) == pytest.approx(float(expected), rel=1e-5)


def test_class_weights_are_scikit_learns() -> None:
    weights = compute_class_weight("balanced", classes=np.arange(CLASSES), y=TRUTH.numpy())
    expected = F.cross_entropy(LOGITS, TRUTH, weight=torch.from_numpy(weights).float())
    assert loss(losses.ClassWeights, TRUTH, power=1.0) == pytest.approx(float(expected), rel=1e-5)
    positive = (ROWS - FLAGS.sum(0)) / FLAGS.sum(0)
    expected = F.binary_cross_entropy_with_logits(LOGITS, FLAGS, pos_weight=positive.sqrt())
    assert loss(losses.ClassWeights, FLAGS, power=0.5) == pytest.approx(float(expected), rel=1e-5)


def test_class_weights_of_a_class_that_train_lacks() -> None:
    module = losses.ClassWeights().build(INPUTS, 4, {"power": 1.0})
    module.on_start(TRUTH)
    assert float(module.weights[3]) == 1


def test_huber_and_mae_are_torchs() -> None:
    scores = LOGITS[:, :1]
    expected = F.huber_loss(scores.squeeze(1), NUMBERS, delta=0.7)
    assert loss(losses.Huber, NUMBERS, scores, delta=0.7) == pytest.approx(float(expected), rel=1e-5)
    assert loss(losses.MAE, NUMBERS, scores) == pytest.approx(float(F.l1_loss(scores.squeeze(1), NUMBERS)), rel=1e-5)


def test_asymmetric() -> None:
    p, y = 1 / (1 + np.exp(-LOGITS.double().numpy())), FLAGS.numpy()
    q = np.maximum(p - 0.05, 0)
    each = np.where(y == 1, -((1 - p) ** 1.0) * np.log(p), -(q**4) * np.log(1 - q))
    assert loss(losses.Asymmetric, FLAGS, gamma_there=1.0) == pytest.approx(float(each.mean()), rel=1e-4)


def test_a_loss_says_what_it_is_for() -> None:
    task = mb.Task("t", "d", {"a": "text"}, mb.Number("y"), "m")
    assert losses.Focal().supports(task) == "is a loss for label and labels, not for number"
    assert losses.Huber().supports(task) is None
