"""The training loop: tensors in memory, batches by index, a fused optimizer, early stopping on validation.

Knows nothing of search or of test. Called by search and evaluate, a training at a time.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from mmbench.api.parts import Epoch
from mmbench.engine.learn.heads import POOL
from mmbench.engine.learn.model import Inputs, Model, predict
from mmbench.errors import TrainingError

Augment: TypeAlias = Callable[[dict[str, Tensor], torch.Generator], dict[str, Tensor]]


class TimeUpError(Exception):
    """The trial's seconds are spent."""


@dataclass(frozen=True)
class Recipe:
    """How to train: the same for every contender, but for what is tuned."""

    epochs: int
    patience: int
    lr: float
    weight_decay: float
    batch_size: int
    seed: int
    deadline: float = math.inf
    """time.monotonic() at which to stop."""


@dataclass
class Fit:
    """What a training gave. The model is left with the weights of its best epoch."""

    score: float
    curve: list[float] = field(default_factory=list)
    train_seconds: float = 0.0
    rows: int = 0

    @property
    def throughput(self) -> float | None:
        """Rows a second while training, evaluation left out."""
        return self.rows / self.train_seconds if self.train_seconds else None


def fit(
    model: Model,
    train: Inputs,
    recipe: Recipe,
    *,
    score: Callable[[np.ndarray[Any, Any]], float],
    valid: Inputs,
    direction: str = "max",
    augment: Mapping[str, Augment] | None = None,
    report: Callable[[int, float], None] = lambda epoch, score: None,
) -> Fit:
    """Train `model` and keep the weights of the epoch whose validation `score` is best.

    `report(epoch, score)` is called after each epoch and may raise to stop (a pruned trial).
    Raises TrainingError if the loss is not finite, TimeUpError past the deadline.
    """
    device = next(iter(next(iter(train.arrays.values())).values())).device
    generator = torch.Generator(device).manual_seed(recipe.seed)
    order = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    steps = max(1, train.n // min(recipe.batch_size, model.head.most_rows))
    sign = 1 if direction == "max" else -1
    result, best, best_epoch = Fit(score=-sign * math.inf), _copy(model), 0
    for epoch in range(recipe.epochs):
        started = time.perf_counter()
        model.train()
        total = torch.zeros((), device=device)
        rows = torch.randperm(train.n, generator=order).to(device)
        size = math.ceil(train.n / steps)  # batches of nearly one size: none is left with a single row
        for step, chosen in enumerate(rows.split(size)):
            _set_lr(optimizer, recipe.lr, (epoch * steps + step) / (recipe.epochs * steps))
            total += _step(model, train, chosen, optimizer, generator, augment or {})
            if time.monotonic() > recipe.deadline:
                raise TimeUpError
        loss = float(total) / steps
        if not math.isfinite(loss):
            raise TrainingError(f"the loss became {loss} in epoch {epoch + 1}")
        result.train_seconds += time.perf_counter() - started
        result.rows += train.n
        predictions = predict(model, valid, pool=POOL).cpu().numpy()
        if not np.isfinite(predictions).all():
            raise TrainingError(f"the predictions are not finite after epoch {epoch + 1}")
        value = score(predictions)
        result.curve.append(value)
        if sign * value > sign * result.score:
            result.score, best, best_epoch = value, _copy(model), epoch
        _tell(model, Epoch(epoch, recipe.epochs, {"loss": loss, "score": value}))
        report(epoch, value)
        if epoch - best_epoch >= recipe.patience:
            break
    model.load_state_dict(best)
    return result


def _step(
    model: Model,
    train: Inputs,
    rows: Tensor,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    augment: Mapping[str, Augment],
) -> Tensor:
    """One update; gives the loss, detached."""
    batch = train.batch(rows)
    for modality, change in augment.items():
        batch[modality] = change(batch[modality], generator)
    optimizer.zero_grad(set_to_none=True)
    fusion: Any = model.fusion
    objective: Any = model.objective
    with torch.autocast(rows.device.type, dtype=torch.bfloat16, enabled=rows.device.type == "cuda"):
        features = model.encode(batch)
        if hasattr(objective, "on_features"):
            features = objective.on_features(features, generator)
        seen, target = model.head.arrange(features, cast(Tensor, train.target)[rows])
        fused = model.fuse(seen)
        terms: dict[str, Tensor] = {}
        if hasattr(fusion, "loss"):
            terms |= fusion.loss(fused, target)
        if "task" not in terms and fused.logits is not None:
            terms["task"] = model.head.loss(fused.logits.float(), target)
        if hasattr(objective, "loss"):
            terms |= {f"objective.{k}": v for k, v in objective.loss(features, fused, target).items()}
        loss = torch.stack(list(terms.values())).sum()
    loss.backward()
    if hasattr(objective, "on_gradients"):
        _replace_gradients(model, objective, features, fused, target, generator)
    optimizer.step()
    return loss.detach()


def _replace_gradients(
    model: Model, objective: Any, features: Any, fused: Any, target: Tensor, generator: torch.Generator
) -> None:
    named = {name: p for name, p in model.named_parameters() if p.grad is not None}
    with torch.no_grad():
        gradients = {name: p.grad for name, p in named.items()}
        for name, gradient in objective.on_gradients(gradients, features, fused, target, generator).items():
            named[name].grad = gradient


def _set_lr(optimizer: torch.optim.Optimizer, lr: float, progress: float, warm: float = 0.05) -> None:
    """A short linear warm-up, then half a cosine down to zero."""
    scale = progress / warm if progress < warm else 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm)))
    for group in optimizer.param_groups:
        group["lr"] = lr * max(scale, 1e-3)


def _tell(model: Model, epoch: Epoch) -> None:
    modules: tuple[Any, ...] = (model.fusion, model.objective)
    for module in modules:
        if hasattr(module, "on_epoch"):
            module.on_epoch(epoch)


def _copy(model: Model) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
