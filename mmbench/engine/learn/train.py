"""The training loop: tensors in memory, batches by index, early stopping on validation.

A `Training` stands still after each epoch, so that a search can look at many of them and continue only the best.
Knows nothing of search or of test. `attempt` drives it; `cohort` trains many models in its stead.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from mmbench.api.parts import Epoch, Features, Fused, gather
from mmbench.api.parts.scores import sign
from mmbench.engine import clock
from mmbench.engine.learn.evaluation import left_as_it_was
from mmbench.engine.learn.model import BLOCK, Batch, Inputs, Model, kernels, predict
from mmbench.engine.learn.objectives import owned, scaled, start
from mmbench.engine.learn.optimizer import Rule, Updater, groups_of
from mmbench.errors import TrainingError

Augment: TypeAlias = Callable[[dict[str, Tensor], torch.Generator], dict[str, Tensor]]
Score: TypeAlias = Callable[["np.ndarray[Any, Any]"], float]
POOL = 64
"""Where rows meet, validation while training asks each among so many only."""


class TimeUpError(Exception):
    """The training's seconds are spent."""


@dataclass(frozen=True)
class Recipe:
    """How to train: the same for every contender, but for what is tuned."""

    epochs: int
    patience: int
    batch_size: int
    seed: int
    rule: Rule
    seconds: float = math.inf
    """How long it may train, in seconds: those between two epochs don't count."""
    clip: float = 0.0
    """The largest norm that all gradients together may have; 0: any."""
    accumulate: int = 1
    """In how many pieces, of two rows at least, a batch goes through the model; their gradients are added up."""


@dataclass(frozen=True)
class Lesson:
    """What to learn from, and how it is judged: the same for every configuration with the same encoders."""

    train: Inputs
    valid: Inputs
    score: Score
    """The tuned metric of predictions for `valid`."""
    direction: str = "max"
    augment: Mapping[str, Augment] = field(default_factory=dict)

    @property
    def sign(self) -> int:
        return sign(self.direction)


@dataclass
class Fit:
    """How far one model has come."""

    score: float = math.nan
    """The best of the curve."""
    curve: list[float] = field(default_factory=list)
    """The tuned metric after each epoch."""
    best_epoch: int = -1
    train_seconds: float = 0.0
    rows: int = 0

    @property
    def throughput(self) -> float | None:
        """Rows a second while training, evaluation left out."""
        return self.rows / self.train_seconds if self.train_seconds else None

    def add(self, score: float, *, sign: int) -> bool:
        """Note the score of one more epoch; gives whether it is the best so far."""
        best = not self.curve or sign * score > sign * self.score
        self.curve.append(score)
        if best:
            self.score, self.best_epoch = score, len(self.curve) - 1
        return best

    def over(self, recipe: Recipe) -> bool:
        """Whether all epochs are done, or the patience is at an end."""
        done = len(self.curve)
        return done >= recipe.epochs or (done > 0 and done - 1 - self.best_epoch >= recipe.patience)


class Training:
    """One model on its way through the epochs of `recipe`."""

    def __init__(self, model: Model, recipe: Recipe, lesson: Lesson) -> None:
        self.model, self.recipe, self.lesson = model, recipe, lesson
        self.fit = Fit()
        self.over = False
        """Whether there is nothing left to do; the model then has the weights of its best epoch."""
        self.spent = 0.0
        if recipe.accumulate > 1 and any(hasattr(model.objective, hook) for hook in ("on_gradients", "encoder_steps")):
            raise TrainingError(
                "train.accumulate: this objective changes the gradients of whole batches; leave it at 1"
            )
        device = lesson.train.device
        self._generator = torch.Generator(device).manual_seed(recipe.seed)
        self._order = torch.Generator().manual_seed(recipe.seed)
        self._randomness = Randomness(device)
        start(model, cast(Tensor, lesson.train.target))
        self._updater = Updater(dict(model.named_parameters()), recipe.rule, groups_of(model))
        self._best = _copy(model)

    def advance(self) -> None:
        """Train one epoch and score it.

        Raises TrainingError if the loss or a prediction is not finite or validation changes the model, TimeUpError when
        the seconds are spent.
        """
        started = clock.seconds()
        with self._randomness, kernels(self.model):
            loss = self._epoch(started)
            self.fit.train_seconds += clock.seconds() - started
            self.fit.rows += self.lesson.train.n
            with left_as_it_was(self.model, closely=self._done == 0):
                predictions = predict(self.model, self.lesson.valid, pool=POOL)
            score = judge(predictions, self.lesson, self._done)
            if self.fit.add(score, sign=self.lesson.sign):
                self._best = _copy(self.model)
            tell(self.model, Epoch(self._done - 1, self.recipe.epochs, {"loss": loss, "score": score}))
        self.spent += clock.seconds() - started
        if self.fit.over(self.recipe):
            self.finish()

    def finish(self) -> None:
        """Train no more; the model gets the weights of its best epoch."""
        self.over = True
        self.model.load_state_dict(self._best)

    @property
    def _done(self) -> int:
        return len(self.fit.curve)

    def _epoch(self, started: float) -> float:
        """All batches once; gives the mean loss."""
        model, recipe, lesson = self.model, self.recipe, self.lesson
        augment = {m: (change, self._generator) for m, change in lesson.augment.items()}
        steps, size = steps_of(lesson.train.n, recipe.batch_size, model)
        model.train()
        losses = []
        for step, (batch, target) in enumerate(_batches(lesson.train, size, self._order)):
            for modality, (change, generator) in augment.items():
                batch[modality] = change(batch[modality], generator)
            self._updater.forget()
            scale = recipe.rule.factor((self._done * steps + step) / (recipe.epochs * steps))
            if recipe.accumulate > 1:
                loss = self._accumulated(batch, target)
                self._move(scale)
            else:
                loss, features, fused, target = step_loss(model, batch, target, self._generator)
                loss.backward()
                if hasattr(model.objective, "on_gradients"):
                    _replace_gradients(model, features, fused, target, self._generator)
                with _steps(model, features, fused, target):
                    self._move(scale)
            losses.append(loss.detach())
            if self.spent + clock.seconds() - started > recipe.seconds:
                raise TimeUpError
        return finite(float(torch.stack(losses).mean()), self._done)

    def _accumulated(self, batch: Batch, target: Tensor) -> Tensor:
        """The gradients of a batch that goes through the model piece by piece; gives its loss."""
        pieces = max(1, min(self.recipe.accumulate, len(target) // 2))
        total = torch.zeros((), device=target.device)
        for rows in torch.arange(len(target), device=target.device).tensor_split(pieces):
            part = {m: {name: gather(array, rows) for name, array in arrays.items()} for m, arrays in batch.items()}
            loss, *_ = step_loss(self.model, part, gather(target, rows), self._generator)
            loss = loss * (len(rows) / len(target))
            loss.backward()
            total = total + loss.detach()
        return total

    def _move(self, scale: float) -> None:
        """One step, its gradients made shorter first where they are too long."""
        if self.recipe.clip:
            torch.nn.utils.clip_grad_norm_(self._updater.parameters, self.recipe.clip)
        self._updater.step(scale)


def fit(model: Model, recipe: Recipe, lesson: Lesson) -> Fit:
    """Train `model` to the end; it is left with the weights of the epoch whose validation score is best."""
    training = Training(model, recipe, lesson)
    while not training.over:
        training.advance()
    return training.fit


def step_loss(
    model: Model, batch: Batch, target: Tensor, generator: torch.Generator
) -> tuple[Tensor, Mapping[str, Features], Fused, Tensor]:
    """What one step makes smaller, a scalar; with it the features, what was fused, and the targets as arranged."""
    part: Any = model.objective
    fusion: Any = model.fusion
    with precision(target.device):
        features: Mapping[str, Features] = model.encode(batch)
        if hasattr(part, "on_features"):
            features = part.on_features(features, generator)
        seen, target = model.arrange(features, target)
        fused = model.fuse(seen)
        terms: dict[str, Tensor] = dict(fusion.loss(fused, target)) if hasattr(fusion, "loss") else {}
        if hasattr(part, "task_loss"):
            terms["task"] = part.task_loss(fused, target)
        elif "task" not in terms:
            terms["task"] = model.head.loss(fused, target)
        if hasattr(part, "loss"):
            terms |= {f"objective.{name}": term for name, term in part.loss(features, fused, target).items()}
    loss, *more = terms.values()
    for term in more:
        loss = loss + term
    return loss, features, fused, target


def shuffled(inputs: Inputs, order: torch.Generator) -> Tensor:
    """The rows in random order, on the device."""
    return torch.randperm(inputs.n, generator=order).to(inputs.device)


def _batches(
    inputs: Inputs, size: int, order: torch.Generator
) -> Iterator[tuple[dict[str, dict[str, Tensor]], Tensor]]:
    """An epoch's batches with their targets. Small ones are gathered many at once, and cut."""
    for rows in shuffled(inputs, order).split(size * max(1, BLOCK // (inputs.row_bytes * size))):
        some = inputs.batch(rows)
        parts = {m: {name: array.split(size) for name, array in arrays.items()} for m, arrays in some.items()}
        for i, target in enumerate(gather(cast(Tensor, inputs.target), rows).split(size)):
            yield {m: {name: cut[i] for name, cut in arrays.items()} for m, arrays in parts.items()}, target


def steps_of(rows: int, batch_size: int, model: Model) -> tuple[int, int]:
    """How many steps an epoch has, and how many rows a step: nearly one size for all, and no single row left over."""
    steps = max(1, rows // min(batch_size, model.most_rows))
    return steps, math.ceil(rows / steps)


def judge(predictions: Tensor, lesson: Lesson, epoch: int) -> float:
    """The score of predictions for the validation rows. Raises TrainingError if one is not finite."""
    found = predictions.cpu().numpy()
    if not np.isfinite(found).all():
        raise TrainingError(f"the predictions are not finite after epoch {epoch + 1}")
    return lesson.score(found)


def finite(loss: float, epoch: int) -> float:
    if not math.isfinite(loss):
        raise TrainingError(f"the loss became {loss} in epoch {epoch + 1}")
    return loss


def tell(model: Model, epoch: Epoch) -> None:
    """Let the fusion and the objective hear of the epoch."""
    modules: tuple[Any, ...] = (model.fusion, model.objective)
    for module in modules:
        if hasattr(module, "on_epoch"):
            module.on_epoch(epoch)


def precision(device: torch.device) -> Any:
    """bfloat16 where the device is made for it."""
    return torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()


class Randomness:
    """A training's own stream of random numbers: what others draw while it stands still changes nothing for it.

    Begins where torch's global generators are when it is made: right after a model's weights are drawn.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._state = self._read()

    def __enter__(self) -> None:
        self._outside = self._read()
        self._write(self._state)

    def __exit__(self, *_: object) -> None:
        self._state = self._read()
        self._write(self._outside)

    def _read(self) -> list[Tensor]:
        cuda = [torch.cuda.get_rng_state(self._device)] if self._device.type == "cuda" else []
        return [torch.get_rng_state(), *cuda]

    def _write(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(states[1], self._device)


def _steps(model: Model, features: Mapping[str, Features], fused: Fused, target: Tensor) -> Any:
    """The steps inside are as long as the objective says."""
    part: Any = model.objective
    if not hasattr(part, "encoder_steps"):
        return nullcontext()
    named = dict(model.named_parameters())
    with torch.no_grad():
        return scaled(named, owned(part.encoder_steps(features, fused, target), named))


def _replace_gradients(
    model: Model, features: Mapping[str, Features], fused: Fused, target: Tensor, generator: torch.Generator
) -> None:
    part: Any = model.objective
    named = {name: p for name, p in model.named_parameters() if p.grad is not None}
    with torch.no_grad():
        gradients = {name: p.grad for name, p in named.items()}
        for name, gradient in part.on_gradients(gradients, features, fused, target, generator).items():
            like = named[name]  # the optimizer's kernel takes for granted that both lie in memory alike
            like.grad = gradient if gradient.stride() == like.stride() else torch.empty_like(like).copy_(gradient)


def _copy(model: Model) -> dict[str, Any]:
    """The weights, and what modules add to them of their own (`get_extra_state`)."""
    kept = model.state_dict().items()
    return {name: what.clone() if isinstance(what, Tensor) else deepcopy(what) for name, what in kept}
