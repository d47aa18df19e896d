"""Many models of one shape trained as one program: each step's many small operations become a few large ones.

A cohort does for each of its members what a `Training` does for one, with its own weights, seed, order of rows,
learning rate and settings. Member k's weights are row k of one matrix; `torch.func.vmap` runs the forward pass of all
of them at once. Without dropout it equals one-by-one training to rounding; with it, in distribution.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.conv import _ConvNd
from torch.utils._pytree import tree_flatten, tree_unflatten

from mmbench.api.parts import Epoch, Features, Fused
from mmbench.engine.learn.model import Batch, Inputs, Model, kernels, put_in
from mmbench.engine.learn.optimizer import update
from mmbench.engine.learn.train import (
    Fit,
    Lesson,
    Randomness,
    Recipe,
    TimeUpError,
    schedule,
    shuffled,
    step_loss,
    steps_of,
    tell,
)
from mmbench.errors import MMBenchError

FEWEST = 4
"""Fewer members than these are never faster together."""
MANY, LARGEST = 8, 24_000_000
"""Above this many weights times rows of a batch, arithmetic is most of a step, and a cohort saves none of it; fewer
members than so many save something only up to an eighth of that."""


class NoCohortError(MMBenchError):
    """These models can't train in one program."""


def pays(models: Sequence[Model], batch_size: int) -> bool:
    """Whether so many such models are faster together. On a GPU a step is nearly always shorter than its launches."""
    if len(models) < FEWEST:
        return False
    model, device = models[0], next(models[0].parameters()).device
    slow = (nn.RNNBase,) if device.type == "cuda" else (nn.RNNBase, _ConvNd)  # these run member by member, or worse
    if any(isinstance(module, slow) for module in model.modules()):
        return False
    if device.type == "cuda":
        return True
    weights = sum(parameter.numel() for parameter in model.parameters())
    return weights * min(batch_size, model.most_rows) <= (LARGEST if len(models) >= MANY else LARGEST // 8)


class Cohort:
    """Several models on their way through the same number of epochs.

    models: of one architecture; recipes: one each, alike but for lr, weight_decay and seed.
    Raises NoCohortError if the models differ in more than tensors.
    """

    def __init__(self, models: Sequence[Model], recipes: Sequence[Recipe], lesson: Lesson) -> None:
        for model in models:
            put_in(model)
            model.to(lesson.train.device)
        if not all(_alike(models[0], model) for model in models[1:]):
            raise NoCohortError("the models differ in more than their tensors")
        self.models, self.recipes, self.lesson = models, recipes, lesson
        self.fits = [Fit() for _ in models]
        self.failures: dict[int, str] = {}
        """Why a member stopped, if its loss or its predictions were not finite."""
        self.alive = list(range(len(models)))
        self.spent = 0.0
        device = lesson.train.device
        seeds = [recipe.seed for recipe in recipes]
        self._generator = torch.Generator(device).manual_seed(seeds[0])
        self._augment = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self._order = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._randomness = Randomness(device)
        self._names = {name: parameter.shape for name, parameter in models[0].named_parameters()}
        self._flat = torch.stack([_flat(model.parameters()) for model in models])
        self._buffers = _stack([dict(model.named_buffers()) for model in models])
        self._best: list[tuple[Tensor, dict[str, Tensor]]] = [self._take(k) for k in self.alive]
        self._first, self._second = torch.zeros_like(self._flat), torch.zeros_like(self._flat)
        self._steps = torch.zeros(len(models), device=device)
        self._shell = models[0].together()
        """The module whose code runs; its tensors are replaced by each member's."""
        self._slots = _Slots(self._shell)
        self._leave([])

    @property
    def over(self) -> bool:
        return not self.alive

    def advance(self) -> None:
        """Train one epoch of every member that is alive and score it; those that are done or fail leave.

        Raises TimeUpError when the seconds of all are spent, and whatever a part raises.
        """
        started = time.perf_counter()
        with self._randomness, kernels(self._shell):
            losses = self._epoch(started)
            taken = (time.perf_counter() - started) / len(self.alive)
            self._judge(losses, taken)
        self.spent += time.perf_counter() - started

    def stop(self, k: int) -> None:
        """Train member k no more."""
        self._leave([k])

    def model(self, k: int) -> Model:
        """Member k as a model of its own, with the weights of its best epoch."""
        self._load(k, *self._best[k])
        return self.models[k]

    def _epoch(self, started: float) -> Tensor:
        """All batches once; gives each living member's mean loss, [K]."""
        recipe, train = self.recipes[0], self.lesson.train
        steps, size = steps_of(train.n, recipe.batch_size, self._shell)
        self._shell.train()
        orders = zip(*(shuffled(train, self._order[k]).split(size) for k in self.alive), strict=True)
        losses = []
        for step, rows in enumerate(orders):
            progress = (self._done * steps + step) / (recipe.epochs * steps)
            losses.append(self._update(torch.stack(rows), schedule(progress)))
            if self.spent + time.perf_counter() - started > recipe.seconds * len(self.models):
                raise TimeUpError
        return torch.stack(losses).mean(0)

    def _update(self, rows: Tensor, scale: float) -> Tensor:
        """One step of every living member on its own rows [K, B]; gives the losses [K]."""
        batch = self._batch(rows)
        target = cast(Tensor, self.lesson.train.target)[rows]
        losses, judged = self._run(self._losses, (0, 0), batch, target)
        found = torch.autograd.grad(losses.sum(), list(self._leaves.values()), allow_unused=True)
        gradients = {name: gradient for name, gradient in zip(self._leaves, found, strict=True) if gradient is not None}
        if len(gradients) < len(self._leaves):
            raise NoCohortError("a parameter takes no part in the loss")
        with torch.no_grad():
            if hasattr(self.models[0].objective, "on_gradients"):
                gradients |= self._run(self._modulated, (0, 0), gradients, judged)
            self._adam(torch.cat([gradients[name].reshape(len(rows), -1) for name in self._names], dim=1), scale)
        return cast(Tensor, losses).detach()

    def _adam(self, gradient: Tensor, scale: float) -> None:
        """As `optimizer.AdamW`, each row with a learning rate and a decay of its own."""
        self._steps += 1
        rows = zip(self.alive, self._flat, gradient, self._first, self._second, self._steps, strict=True)
        for k, weights, own, first, second, step in rows:
            recipe = self.recipes[k]
            update([weights], [own], [first], [second], [step], lr=recipe.lr * scale, weight_decay=recipe.weight_decay)

    def _losses(self, batch: Batch, target: Tensor) -> tuple[Tensor, Any]:
        """What vmap sees of one member's step."""
        loss, features, fused, target = step_loss(self._shell, batch, target, self._generator)
        if not hasattr(self._shell.objective, "on_gradients"):
            return loss, ()
        given = {m: f.given for m, f in features.items()}
        leaves, self._shape = tree_flatten((given, vars(fused), target))
        self._constants = [None if isinstance(leaf, Tensor) else (leaf,) for leaf in leaves]
        return loss, [leaf.detach() for leaf in leaves if isinstance(leaf, Tensor)]

    def _modulated(self, gradients: dict[str, Tensor], judged: list[Tensor]) -> dict[str, Tensor]:
        """What vmap sees of one member's `on_gradients`."""
        tensors = iter(judged)
        leaves = [next(tensors) if constant is None else constant[0] for constant in self._constants]
        features, fused, target = tree_unflatten(leaves, self._shape)
        features = {m: Features(*given) for m, given in features.items()}
        part: Any = self._shell.objective
        return dict(part.on_gradients(gradients, features, Fused(**fused), target, self._generator))

    def _judge(self, losses: Tensor, seconds: float) -> None:
        """Score every living member on validation, keep the best weights, let go of those that end here."""
        model, lesson, epoch = self._shell.eval(), self.lesson, self._done
        with torch.no_grad():
            parts = [self._run(self._predict, (None,), lesson.valid.batch(block)) for block in lesson.valid.blocks()]
        predictions, rows = torch.cat(parts, dim=1).float().cpu().numpy(), list(self.alive)
        leaving = []
        for row, (k, loss) in enumerate(zip(rows, losses.tolist(), strict=True)):
            fit = self.fits[k]
            if not np.isfinite(loss) or not np.isfinite(predictions[row]).all():
                what = f"the loss became {loss} in" if not np.isfinite(loss) else "the predictions are not finite after"
                self.failures[k] = f"{what} epoch {epoch + 1}"
                leaving.append(k)
                continue
            fit.train_seconds, fit.rows = fit.train_seconds + seconds, fit.rows + lesson.train.n
            score = lesson.score(predictions[row])
            if fit.add(score, sign=lesson.sign):
                self._best[k] = self._take(k)
            if any(hasattr(module, "on_epoch") for module in (model.fusion, model.objective)):
                self._hear(k, Epoch(epoch, self.recipes[k].epochs, {"loss": loss, "score": score}))
            if fit.over(self.recipes[k]):
                leaving.append(k)
        self._leave(leaving)

    def _predict(self, batch: Batch) -> Tensor:
        return self._shell.predict(batch)

    def _run(self, function: Callable[..., Any], dims: tuple[int | None, ...], *arguments: Any) -> Any:
        """`function` of every living member at once; it finds the member's tensors in the shell."""

        def one(tensors: list[Tensor], *given: Any) -> Any:
            with self._slots.holding(tensors):
                return function(*given)

        tensors = [*self._leaves.values(), *self._buffers.values()]
        with sdpa_kernel(SDPBackend.MATH):  # the fused attention kernels have no batching rule
            return vmap(one, in_dims=(0, *dims), randomness="different")(tensors, *arguments)

    def _batch(self, rows: Tensor) -> dict[str, dict[str, Tensor]]:
        """Each living member's rows [K, B] of every array, changed by the encoders that augment."""
        train: Inputs = self.lesson.train
        members, size = rows.shape
        batch = {
            m: {name: array.unflatten(0, (members, size)) for name, array in arrays.items()}
            for m, arrays in train.batch(rows.flatten()).items()
        }
        for modality, change in self.lesson.augment.items():
            arrays = batch[modality]
            each = [
                change({name: array[row] for name, array in arrays.items()}, self._augment[k])
                for row, k in enumerate(self.alive)
            ]
            batch[modality] = {name: torch.stack([changed[name] for changed in each]) for name in each[0]}
        return batch

    def _leave(self, members: Sequence[int]) -> None:
        """Go on with those that are alive and not among `members`: their rows of every matrix are all that is kept."""
        kept = [row for row, k in enumerate(self.alive) if k not in members]
        self.alive = [k for k in self.alive if k not in members]
        if len(kept) < len(self._flat):
            index = torch.tensor(kept, dtype=torch.long, device=self._flat.device)
            kept_rows = (tensor[index] for tensor in (self._flat, self._first, self._second, self._steps))
            self._flat, self._first, self._second, self._steps = kept_rows
            self._buffers = {name: buffer[index] for name, buffer in self._buffers.items()}
        sizes = [shape.numel() for shape in self._names.values()]
        columns = zip(self._names.items(), self._flat.split(sizes, dim=1), strict=True)
        rows = len(self.alive)
        self._leaves = {n: column.view(rows, *shape).requires_grad_() for (n, shape), column in columns}

    @property
    def _done(self) -> int:
        return len(self.fits[self.alive[0]].curve)

    def _take(self, k: int) -> tuple[Tensor, dict[str, Tensor]]:
        row = self.alive.index(k)
        return self._flat[row].detach().clone(), {name: b[row].clone() for name, b in self._buffers.items()}

    def _load(self, k: int, flat: Tensor, buffers: Mapping[str, Tensor]) -> None:
        model = self.models[k]
        with torch.no_grad():
            sizes = [shape.numel() for shape in self._names.values()]
            for parameter, values in zip(model.parameters(), flat.split(sizes), strict=True):
                parameter.copy_(values.view_as(parameter))
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])

    def _hear(self, k: int, epoch: Epoch) -> None:
        """Tell member k's own modules of the epoch, and take over what they make of it."""
        self._load(k, *self._take(k))
        tell(self.models[k], epoch)
        row = self.alive.index(k)
        for name, buffer in self.models[k].named_buffers():
            self._buffers[name][row] = buffer


class _Slots:
    """Where a model keeps its parameters and its buffers; one that several modules share has several places. Does what
    `torch.func.functional_call` does, but looks for the places once, not at each call."""

    def __init__(self, model: nn.Module) -> None:
        kept = [*dict(model.named_parameters()).values(), *dict(model.named_buffers()).values()]
        order = {id(tensor): place for place, tensor in enumerate(kept)}
        self._own: list[tuple[dict[str, Any], str, Tensor, int]] = [
            (tensors, name, tensor, order[id(tensor)])
            for module in model.modules()
            for tensors in (module._parameters, module._buffers)
            for name, tensor in tensors.items()
            if tensor is not None
        ]

    @contextmanager
    def holding(self, tensors: Sequence[Tensor]) -> Iterator[None]:
        """The model holds these in place of its own: all parameters, then all buffers, in the order of their names."""
        for place, name, _, number in self._own:
            place[name] = tensors[number]
        try:
            yield
        finally:
            for place, name, own, _ in self._own:
                place[name] = own


def _alike(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules are the same code with the same settings: they may differ in parameters and buffers only."""
    first, second = dict(one.named_modules()), dict(other.named_modules())
    if first.keys() != second.keys():
        return False
    for name, module in first.items():
        twin = second[name]
        if type(module) is not type(twin) or not _same_tensors(module, twin):
            return False
        if _settings(module) != _settings(twin):
            return False
    return True


def _same_tensors(one: nn.Module, other: nn.Module) -> bool:
    pairs = ((dict(m.named_parameters()) | dict(m.named_buffers())) for m in (one, other))
    first, second = ({name: (t.shape, t.dtype) for name, t in tensors.items()} for tensors in pairs)
    return first == second


def _settings(module: nn.Module) -> dict[str, str]:
    """A module's own plain attributes as text; what torch keeps for itself begins with an underscore."""
    return {name: repr(value) for name, value in vars(module).items() if not name.startswith("_")}


def _flat(tensors: Any) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def _stack(each: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([tensors[name] for tensors in each]) for name in each[0]}
