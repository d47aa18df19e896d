"""Modules of `mmbench_objective.losses`; the equations stand there."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmbench.api.parts import Fused
from mmbench.errors import PluginError

SMALLEST = 1e-8


class Loss(nn.Module):
    """A loss in place of the task's, whose settings are buffers."""

    def __init__(self, **settings: float) -> None:
        super().__init__()
        for name, value in settings.items():
            self.register_buffer(name, torch.tensor(float(value)), persistent=False)

    def task_loss(self, fused: Fused, target: Tensor) -> Tensor:
        if fused.logits is None:
            raise PluginError("the head gives no logits, of which this objective makes the loss")
        return self.rows(fused.logits.float(), target).mean()

    def rows(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of each row, [B] (or of each row and class, [B, L])."""
        raise NotImplementedError


class Focal(Loss):
    gamma: Tensor
    alpha: Tensor

    def rows(self, logits: Tensor, target: Tensor) -> Tensor:
        if target.ndim == 2:
            log_likely = F.logsigmoid(torch.where(target > 0.5, logits, -logits))
            side = torch.where(target > 0.5, self.alpha, 1 - self.alpha)
        else:
            log_likely = _of_truth(logits.log_softmax(1), target)
            side = torch.ones_like(log_likely)
        unsure = (-torch.expm1(log_likely)).clamp(min=SMALLEST)
        return -side * unsure**self.gamma * log_likely


class LabelSmoothing(Loss):
    epsilon: Tensor

    def rows(self, logits: Tensor, target: Tensor) -> Tensor:
        if target.ndim == 2:
            softened = target * (1 - self.epsilon) + self.epsilon / 2
            return -(softened * F.logsigmoid(logits) + (1 - softened) * F.logsigmoid(-logits))
        logs = logits.log_softmax(1)
        return -(1 - self.epsilon) * _of_truth(logs, target) - self.epsilon * logs.mean(1)


class ClassWeights(Loss):
    power: Tensor
    weights: Tensor

    def __init__(self, outputs: int, power: float) -> None:
        super().__init__(power=power)
        self.register_buffer("weights", torch.ones(outputs), persistent=False)

    def on_start(self, target: Tensor) -> None:
        rows, classes = len(target), len(self.weights)
        if target.ndim == 2:
            there = target.float().sum(0)
            ratio = (rows - there).clamp(min=1) / there.clamp(min=1)
        else:
            there = torch.bincount(target, minlength=classes).float()
            ratio = torch.where(there > 0, rows / (classes * there.clamp(min=1)), 1.0)
        self.weights.copy_(ratio**self.power)

    def task_loss(self, fused: Fused, target: Tensor) -> Tensor:
        if target.ndim == 2:
            return super().task_loss(fused, target)
        return super().task_loss(fused, target) / self.weights[target].mean()

    def rows(self, logits: Tensor, target: Tensor) -> Tensor:
        if target.ndim == 2:
            return -(self.weights * target * F.logsigmoid(logits) + (1 - target) * F.logsigmoid(-logits))
        return -self.weights[target] * _of_truth(logits.log_softmax(1), target)


class Huber(Loss):
    delta: Tensor

    def rows(self, logits: Tensor, target: Tensor) -> Tensor:
        size = (logits.squeeze(1) - target).abs()
        return torch.where(size <= self.delta, size.square() / 2, self.delta * (size - self.delta / 2))


class MAE(Loss):
    def rows(self, logits: Tensor, target: Tensor) -> Tensor:
        return (logits.squeeze(1) - target).abs()


class Asymmetric(Loss):
    gamma_there: Tensor
    gamma_absent: Tensor
    margin: Tensor

    def rows(self, logits: Tensor, target: Tensor) -> Tensor:
        likely = logits.sigmoid()
        there = (1 - likely).clamp(min=SMALLEST) ** self.gamma_there * F.logsigmoid(logits)
        shifted = (likely - self.margin).clamp(min=0)
        absent = shifted**self.gamma_absent * (1 - shifted).clamp(min=SMALLEST).log()
        return -torch.where(target > 0.5, there, absent)


def _of_truth(values: Tensor, target: Tensor) -> Tensor:
    """The value of each row's true class, [B]."""
    return values.gather(1, target.unsqueeze(1)).squeeze(1)
