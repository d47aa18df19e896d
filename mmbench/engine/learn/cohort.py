"""Many models of one shape trained as one program: each step's many small operations become a few large ones.

A cohort does for each of its members what a `Training` does for one, with its own weights, seed, order of rows,
learning rate and settings, or it refuses (`NoCohortError`) and they are trained one by one. Member k's weights are row
k of one matrix; `torch.func.vmap` runs the forward pass of all of them at once. Without dropout it equals one-by-one
training to rounding; with it, in distribution.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmbench.api.parts import Epoch, Features, Fused
from mmbench.api.torch_private import Places
from mmbench.engine import clock
from mmbench.engine.learn.dropout import Chances
from mmbench.engine.learn.evaluation import Watch
from mmbench.engine.learn.likeness import difference, obstacle
from mmbench.engine.learn.model import CONVOLUTIONS, Batch, Inputs, Model, kernels, put_in
from mmbench.engine.learn.optimizer import RowUpdater, factors, groups_of, in_order
from mmbench.engine.learn.train import (
    Fit,
    Lesson,
    Randomness,
    Recipe,
    TimeUpError,
    shuffled,
    step_loss,
    steps_of,
    tell,
)
from mmbench.engine.learn.trees import filled, without
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
    slow = (nn.RNNBase,) if device.type == "cuda" else (nn.RNNBase, *CONVOLUTIONS)  # these run one by one, or worse
    if any(isinstance(module, slow) for module in model.modules()):
        return False
    if device.type == "cuda":
        return True
    weights = sum(parameter.numel() for parameter in model.parameters())
    return weights * min(batch_size, model.most_rows) <= (LARGEST if len(models) >= MANY else LARGEST // 8)


class Cohort:
    """Several models on their way through the same number of epochs.

    models: of one architecture; recipes: one each, alike but for seed and rule. Raises NoCohortError, here or while
    training, if one program can't do for each what it would do alone: the models differ in more than tensors, or a
    module does what one program for all can't (`likeness.obstacle`).
    """

    def __init__(self, models: Sequence[Model], recipes: Sequence[Recipe], lesson: Lesson) -> None:
        for model in models:
            put_in(model)
            model.to(lesson.train.device).eval()
        self.models, self.recipes, self.lesson = models, recipes, lesson
        self.fits = [Fit() for _ in models]
        self.failures: dict[int, str] = {}
        """Why a member stopped, if its loss or its predictions were not finite."""
        self.alive = list(range(len(models)))
        self.spent = 0.0
        self._compare()
        self._listens = any(hasattr(module, "on_epoch") for module in (models[0].fusion, models[0].objective))
        device = lesson.train.device
        seeds = [recipe.seed for recipe in recipes]
        self._generator = torch.Generator(device).manual_seed(seeds[0])
        self._augment = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self._order = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._randomness = Randomness(device)
        groups = [groups_of(model) for model in models]
        self._names = in_order(_learning(models[0]), groups)
        self._updaters = [RowUpdater(recipe.rule, own) for recipe, own in zip(recipes, groups, strict=True)]
        self._idle: frozenset[str] | None = None
        """What learns nothing though it could, as its gradient never comes; known after the first step."""
        self._kept = set(models[0].state_dict())
        each = [dict(model.named_parameters()) for model in models]
        self._flat = torch.stack([torch.cat([named[n].detach().flatten() for n in self._names]) for named in each])
        self._rest = _stack([_rest(model) for model in models])
        """What does not learn, {name: [K, ...]}: buffers and frozen parameters."""
        self._best: list[tuple[Tensor, dict[str, Tensor]]] = [self._take(k) for k in self.alive]
        self._steps = torch.zeros(len(models), device=device)
        self._borrow()
        self._leave([])

    @property
    def over(self) -> bool:
        return not self.alive

    def advance(self) -> None:
        """Train one epoch of every member that is alive and score it; those that are done or fail leave.

        Raises TimeUpError when the seconds of all are spent, NoCohortError, and whatever a part raises.
        """
        started = clock.seconds()
        with self._randomness, kernels(self._shell):
            losses = self._epoch(started)
            taken = (clock.seconds() - started) / len(self.alive)
            self._judge(losses, taken)
        self.spent += clock.seconds() - started

    def stop(self, k: int) -> None:
        """Train member k no more."""
        self._leave([k])

    def model(self, k: int) -> Model:
        """Member k as a model of its own, with the weights of its best epoch."""
        if k in self.alive:
            self._load(k, *self._take(k))
        flat, rest = self._best[k]
        self._load(k, flat, {name: tensor for name, tensor in rest.items() if name in self._kept})
        return self.models[k]

    def _epoch(self, started: float) -> Tensor:
        """All batches once; gives each living member's mean loss, [K]."""
        recipe, train = self.recipes[0], self.lesson.train
        steps, size = steps_of(train.n, recipe.batch_size, self._shell)
        self._shell.train()
        orders = zip(*(shuffled(train, self._order[k]).split(size) for k in self.alive), strict=True)
        losses = []
        for step, rows in enumerate(orders):
            losses.append(self._update(torch.stack(rows), (self._done * steps + step) / (recipe.epochs * steps)))
            if self.spent + clock.seconds() - started > recipe.seconds * len(self.models):
                raise TimeUpError
        return torch.stack(losses).mean(0)

    def _update(self, rows: Tensor, progress: float) -> Tensor:
        """One step of every living member on its own rows [K, B]; gives the losses [K]."""
        batch = self._batch(rows)
        target = cast(Tensor, self.lesson.train.target)[rows]
        losses, judged = self._run(self._losses, (0, 0), batch, target)
        found = torch.autograd.grad(losses.sum(), list(self._leaves.values()), allow_unused=True)
        gradients = {name: gradient for name, gradient in zip(self._leaves, found, strict=True) if gradient is not None}
        idle = frozenset(self._names.keys() - gradients.keys())
        if self._idle is None:
            self._idle = idle
            self._hold()
        if idle != self._idle:
            raise NoCohortError(f"takes part in some steps only: {', '.join(sorted(idle ^ self._idle))}")
        with torch.no_grad():
            if hasattr(self.models[0].objective, "on_gradients"):
                changed = self._run(self._modulated, (0, 0), gradients, judged)
                if changed.keys() - gradients.keys():
                    raise NoCohortError("on_gradients gives gradients of what has none")
                gradients |= changed
            columns = [gradients.get(n, leaf) for n, leaf in self._leaves.items()]  # what is idle is not read
            self._move(torch.cat([column.detach().reshape(len(rows), -1) for column in columns], dim=1), progress)
        return cast(Tensor, losses).detach()

    def _move(self, gradient: Tensor, progress: float) -> None:
        """Each row by its own rule, as `optimizer.Updater` does."""
        self._steps += 1
        updaters = [self._updaters[k] for k in self.alive]
        scales = factors([updater.rule for updater in updaters], progress)
        for updater, slopes, step, scale in zip(updaters, gradient, self._steps, scales, strict=True):
            updater.step(slopes, step, scale)

    def _losses(self, batch: Batch, target: Tensor) -> tuple[Tensor, Any]:
        """What vmap sees of one member's step."""
        loss, features, fused, target = step_loss(self._shell, batch, target, self._generator)
        if not hasattr(self._shell.objective, "on_gradients"):
            return loss, ()
        judged: list[Tensor] = []
        self._shape = without({m: f.given for m, f in features.items()} | {None: (vars(fused), target)}, judged)
        return loss, judged

    def _modulated(self, gradients: dict[str, Tensor], judged: list[Tensor]) -> dict[str, Tensor]:
        """What vmap sees of one member's `on_gradients`."""
        given = filled(self._shape, judged)
        fused, target = given.pop(None)
        features = {m: Features(*made) for m, made in given.items()}
        part: Any = self._shell.objective
        return dict(part.on_gradients(gradients, features, Fused(**fused), target, self._generator))

    def _judge(self, losses: Tensor, seconds: float) -> None:
        """Score every living member on validation, keep the best weights, let go of those that end here."""
        lesson, epoch = self.lesson, self._done
        self._shell.eval()
        watch = Watch(self._rest | {"what learns": self._flat}, closely=epoch == 0)
        with torch.no_grad():
            parts = [self._run(self._predict, (None,), lesson.valid.batch(block)) for block in lesson.valid.blocks()]
        if changed := watch.changed(self._rest | {"what learns": self._flat}):
            raise NoCohortError(f"evaluation changes {changed}")
        if epoch == 0:
            self._look_for_traces()
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
            if self._listens:
                self._hear(k, Epoch(epoch, self.recipes[k].epochs, {"loss": loss, "score": score}))
            if fit.over(self.recipes[k]):
                leaving.append(k)
        if self._listens:
            self._compare()
            if self._names.keys() != _learning(self.models[rows[0]]).keys():
                raise NoCohortError("what learns changes while training")
        self._leave(leaving)

    def _predict(self, batch: Batch) -> Tensor:
        return self._shell.predict(batch)

    def _run(self, function: Callable[..., Any], dims: tuple[int | None, ...], *arguments: Any) -> Any:
        """`function` of every living member at once; it finds the member's tensors in the shell."""

        def one(tensors: list[Tensor], chances: list[Tensor], *given: Any) -> Any:
            with self._chances.held(self._parts, chances):
                return self._places.call(tensors, function, *given)

        held = self._leaves | self._rest
        tensors = [held[name] for name in self._places.names]
        with sdpa_kernel(SDPBackend.MATH):  # the fused attention kernels have no batching rule
            mapped = vmap(one, in_dims=(0, 0, *dims), randomness="different")
            result, replaced = mapped(tensors, self._given_chances, *arguments)
        if not replaced.keys() <= self._rest.keys():
            raise NoCohortError(f"replaces what learns: {', '.join(replaced.keys() - self._rest.keys())}")
        self._rest |= {name: tensor.detach() for name, tensor in replaced.items()}
        return result

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
        for k in self.alive:
            if k in members:  # what is not kept of its best epoch it has from its last
                self._load(k, *self._take(k))
                self._updaters[k].forget()
        first, self.alive = self.alive[:1], [k for k in self.alive if k not in members]
        if len(kept) < len(self._flat):
            index = torch.tensor(kept, dtype=torch.long, device=self._flat.device)
            self._flat, self._steps = self._flat[index], self._steps[index]
            self._rest = {name: tensor[index] for name, tensor in self._rest.items()}
        if not self.alive:
            return
        if self.alive[:1] != first:
            self._borrow()
        self._hold()
        self._chances = self._read_chances()
        self._given_chances = self._chances.tensors(self._flat.device)

    def _hold(self) -> None:
        """Look at the matrix as each parameter's values [K, ...] and as each member's row."""
        for k, row in zip(self.alive, self._flat, strict=True):
            self._updaters[k].hold(row, self._names, self._idle or ())
        sizes = [shape.numel() for shape in self._names.values()]
        columns = zip(self._names.items(), self._flat.split(sizes, dim=1), strict=True)
        rows = len(self.alive)
        self._leaves = {n: column.view(rows, *shape).requires_grad_() for (n, shape), column in columns}

    def _borrow(self) -> None:
        """Take the first living member's modules as the shell: the code that runs. Its tensors are replaced by each
        member's. `on_epoch` is heard by members that live, so it must be one of them."""
        model = self.models[self.alive[0]]
        self._shell = model.together()
        self._places, self._parts = Places(self._shell), dict(self._shell.named_modules())

    @property
    def _done(self) -> int:
        return len(self.fits[self.alive[0]].curve)

    def _take(self, k: int) -> tuple[Tensor, dict[str, Tensor]]:
        row = self.alive.index(k)
        return self._flat[row].detach().clone(), {name: tensor[row].clone() for name, tensor in self._rest.items()}

    def _load(self, k: int, flat: Tensor, rest: Mapping[str, Tensor]) -> None:
        """Give member k's own modules these values."""
        model = self.models[k]
        own: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        sizes = [shape.numel() for shape in self._names.values()]
        with torch.no_grad():
            for (name, shape), values in zip(self._names.items(), flat.split(sizes), strict=True):
                own[name].copy_(values.view(shape))
            for name, tensor in rest.items():
                if own[name].shape == tensor.shape:
                    own[name].copy_(tensor)
                else:
                    owner, _, last = name.rpartition(".")
                    setattr(model.get_submodule(owner), last, tensor.clone())

    def _hear(self, k: int, epoch: Epoch) -> None:
        """Tell member k's own modules of the epoch, and take over what they make of it."""
        self._load(k, *self._take(k))
        model, row = self.models[k].eval(), self.alive.index(k)
        tell(model, epoch)
        named = dict(model.named_parameters())
        with torch.no_grad():
            self._flat[row] = torch.cat([named[name].flatten() for name in self._names])
            for name, tensor in _rest(model).items():
                self._rest[name][row] = tensor

    def _compare(self) -> None:
        """Raise NoCohortError unless the living members may share one program."""
        first, *others = (self.models[k].eval() for k in self.alive)
        said = obstacle(first)
        for other in others:
            said = said or difference(first, other)
        if said:
            raise NoCohortError(f"the models differ in more than their tensors, or can't share a program: {said}")

    def _look_for_traces(self) -> None:
        """Raise NoCohortError if a step leaves more behind than tensors in their places, as a counter does: only one
        member's modules ran. What it does in one epoch it does in each, unless `on_epoch` changes it."""
        one, *others = (self.models[k].eval() for k in self.alive)
        for other in others[:1]:
            said = difference(one, other)
            if said or self._read_chances().all != self._chances.all:
                raise NoCohortError(f"a step changes {said or 'the p of a dropout'}")

    def _read_chances(self) -> Chances:
        try:
            return Chances([self.models[k] for k in self.alive])
        except ValueError as error:
            raise NoCohortError(str(error)) from error


def _learning(model: Model) -> dict[str, Tensor]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _rest(model: Model) -> dict[str, Tensor]:
    frozen = {name: parameter.detach() for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return frozen | dict(model.named_buffers())


def _stack(each: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([tensors[name] for tensors in each]) for name in each[0]}
