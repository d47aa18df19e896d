"""Applies an optimizer's update and a schedule to parameters, without what `torch.optim` puts around them.

For a model of fifty small tensors `torch.optim.AdamW(fused=True)` takes four times as long a step as the kernel itself,
and its first use imports torch's compiler, which takes a process seconds. Used by train, and row by row by
cohort.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmbench.api.parts import Part
from mmbench.api.parts.training import Optimizer, Schedule
from mmbench.api.space import Params, defaults
from mmbench.api.torch_private import count
from mmbench.engine.learn.objectives import apart
from mmbench.engine.space import TRAIN, part_params
from mmbench.errors import PluginError, unknown
from mmbench.plugins import Catalog


@dataclass(frozen=True)
class Rule:
    """How weights move in a training: an optimizer and a schedule, each with its parameters."""

    optimizer: Optimizer
    settings: Params
    schedule: Schedule
    course: Params

    def factor(self, progress: float) -> float:
        """What the learning rate is multiplied by after that share of all steps."""
        return self.schedule.factor(progress, self.course)

    def told(self, group: "Group", scale: float) -> dict[str, Any]:
        """The optimizer's parameters for one group in one step."""
        told = {**self.settings, "lr": group.rate(self.settings) * scale * group.factor}
        if not group.decays and "weight_decay" in told:
            told["weight_decay"] = 0.0
        return told


def rule_of(catalog: Catalog, params: Params) -> Rule:
    """The rule of a configuration: the optimizer and the schedule that it names, or the usual ones."""
    found: list[Any] = []
    for role, shelf in (("optimizer", catalog.optimizers), ("schedule", catalog.schedules)):
        part: Part = shelf[params[role]] if role in params else shelf.usual
        prefix = f"{role}.{part.name}" if role in params else TRAIN
        own = {name: value for name, value in part_params(params, prefix).items() if name in part.space}
        found += [part, {**defaults(part.space), **own}]
    return Rule(*found)


@dataclass(frozen=True)
class Group:
    """Parameters that move by the same settings."""

    factor: float = 1.0
    """What their learning rate is multiplied by."""
    decays: bool = True
    fixed: float | None = None
    """Their own learning rate; None: the optimizer's."""

    def rate(self, settings: Params) -> float:
        """The learning rate before factor and schedule."""
        rate: float = settings["lr"] if self.fixed is None else self.fixed
        return rate


def groups_of(model: Any) -> dict[str, Group]:
    """{name: its group} of all parameters of a model.

    The module of an encoder, fusion, head or objective may say `learning_rates() -> {name prefix: factor}`,
    `fixed_rates() -> {name prefix: learning rate}`, which takes the place of the optimizer's, and
    `no_decay() -> [name prefixes]` of its own parameters; the longest prefix counts. Norms and biases never decay.
    Raises PluginError for a prefix that none of its parameters has, and for a rate that is no number above 0.
    """
    factors: dict[int, float] = {}
    fixed: dict[int, float] = {}
    still = {id(parameter) for parameter in _norms_and_biases(model)}
    for owner, module in _owners(model):
        own = dict(module.named_parameters(remove_duplicate=False))
        factors |= _rates(module, "learning_rates", own, owner)
        fixed |= _rates(module, "fixed_rates", own, owner)
        for prefix in _said(module, "no_decay"):
            still |= {id(own[name]) for name in _below(prefix, own, owner, "no_decay")}
    named = dict(model.named_parameters())
    return {name: Group(factors.get(id(p), 1.0), id(p) not in still, fixed.get(id(p))) for name, p in named.items()}


def _rates(module: nn.Module, method: str, own: Mapping[str, Tensor], owner: str) -> dict[int, float]:
    """{id of a parameter: what the module says of it}"""
    said, found = dict(_said(module, method)), dict[int, float]()
    for prefix in sorted(said, key=len):
        if not (isinstance(said[prefix], int | float) and 0 < said[prefix] < math.inf):
            raise PluginError(f"{owner}: {method}() says {said[prefix]!r} of {prefix!r}, not a number above 0")
        found |= {id(own[name]): float(said[prefix]) for name in _below(prefix, own, owner, method)}
    return found


def _norms_and_biases(model: nn.Module) -> Iterator[Tensor]:
    """What is a vector or a scalar is one of them, whatever its name: it has no rows whose size a decay could hold."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.dim() < 2 or name.startswith("bias") or isinstance(module, nn.LayerNorm | nn.RMSNorm):
                yield parameter


def _owners(model: Any) -> Iterator[tuple[str, nn.Module]]:
    yield from ((f"the encoder of {modality!r}", encoder) for modality, encoder in model.encoders.items())
    yield from (("the fusion", model.fusion), ("the head", model.head))
    if model.objective is not None:
        yield from (("an objective", module) for module in apart(model.objective))


def _said(module: Any, method: str) -> Any:
    return getattr(module, method)() if hasattr(module, method) else ()


def _below(prefix: str, own: Mapping[str, Tensor], owner: str, method: str) -> list[str]:
    found = [name for name in own if prefix in ("", name) or name.startswith(f"{prefix}.")]
    if not found:
        raise PluginError(f"{owner}: {method}() names {unknown('parameter', prefix, own)}")
    return found


@dataclass
class _Bundle:
    """Parameters that one call of the optimizer moves."""

    group: Group
    parameters: list[Tensor] = field(default_factory=list)
    state: dict[str, list[Tensor]] = field(default_factory=dict)
    steps: list[Tensor] = field(default_factory=list)

    def add(self, parameter: Tensor, state: Mapping[str, Tensor], steps: Tensor) -> None:
        self.parameters.append(parameter)
        self.steps.append(steps)
        for name, tensor in state.items():
            self.state.setdefault(name, []).append(tensor)


class Updater:
    """Moves parameters in place; one that has no gradient is left alone, and so is its state.

    named: {name: parameter}; groups: those of `groups_of`, for names that are in none the plain one.
    """

    def __init__(self, named: Mapping[str, Tensor], rule: Rule, groups: Mapping[str, Group] | None = None) -> None:
        self.parameters, self.rule = list(named.values()), rule
        self._groups = [(groups or {}).get(name, Group()) for name in named]
        self._state: dict[int, dict[str, Tensor]] = {}
        self._steps: dict[int, Tensor] = {}
        self._moving: list[bool] = []
        self._bundles: list[_Bundle] = []
        self._counts: list[Tensor] = []

    def forget(self) -> None:
        """Let go of the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """One step, the learning rate multiplied by `scale`."""
        moving = [p.grad is not None and p.requires_grad for p in self.parameters]
        if moving != self._moving:
            self._arrange([i for i, moves in enumerate(moving) if moves])
            self._moving = moving
        if not self._bundles:
            return
        count(self._counts)
        for bundle in self._bundles:
            gradients = [cast(Tensor, parameter.grad) for parameter in bundle.parameters]
            told = self.rule.told(bundle.group, scale)
            self.rule.optimizer.update(bundle.parameters, gradients, bundle.state, bundle.steps, told)

    def _arrange(self, rows: Sequence[int]) -> None:
        """Bundle those that move from here on. Parameters that always step together share a count: to count in fifty
        takes as long as the rest."""
        begun: dict[torch.device, Tensor] = {}
        for i in rows:
            if i not in self._steps:
                parameter = self.parameters[i]
                self._state[i] = self.rule.optimizer.state(parameter.detach(), self.rule.settings)
                fresh = begun.setdefault(parameter.device, torch.zeros((), device=parameter.device))
                self._steps[i] = fresh
        moving = set(rows)
        resting = {id(steps) for i, steps in self._steps.items() if i not in moving}
        parted: dict[int, Tensor] = {}
        for i in rows:
            steps = self._steps[i]
            if id(steps) in resting:
                self._steps[i] = parted.setdefault(id(steps), steps.clone())
        self._counts = list({id(self._steps[i]): self._steps[i] for i in rows}.values())
        bundles: dict[Group, _Bundle] = {}
        for i in rows:
            bundle = bundles.setdefault(self._groups[i], _Bundle(self._groups[i]))
            bundle.add(self.parameters[i], self._state[i], self._steps[i])
        self._bundles = list(bundles.values())


class RowUpdater:
    """Moves one member of a cohort, whose parameters lie end to end in a row; as `Updater`, by its own rule."""

    def __init__(self, rule: Rule, groups: Mapping[str, Group]) -> None:
        self.rule, self._groups = rule, groups
        self._whole = False
        optimizer = rule.optimizer
        self._apart = optimizer.decoupled and optimizer.elementwise and "weight_decay" in rule.settings
        """Whether decay is a step of its own, so that what decays and what doesn't take the other in one."""
        self._decaying: list[tuple[Tensor, Group]] = []
        self._pieces: dict[Group, list[tuple[slice, torch.Size]]] = {}
        self._views: list[tuple[Group, list[Tensor]]] = []
        self._state: list[dict[str, list[Tensor]]] = []
        self._told: list[dict[str, Any]] = []

    def hold(self, row: Tensor, names: Mapping[str, torch.Size], idle: Collection[str]) -> None:
        """Look at the row where it lies from here on. names: what is in it; idle: what of that never moves."""
        self._pieces, start = {}, 0
        decaying: dict[Group, list[tuple[slice, torch.Size]]] = {}
        for name, shape in names.items():
            end, group = start + shape.numel(), self._groups[name]
            if self._apart and group.decays and name not in idle:
                _join(decaying.setdefault(group, []), start, end)
            group = replace(group, decays=group.decays and not self._apart)
            pieces = self._pieces.setdefault(group, []) if name not in idle else []
            if self.rule.optimizer.elementwise:
                _join(pieces, start, end)
            else:
                pieces.append((slice(start, end), shape))
            start = end
        self._decaying = [(view, group) for group, own in decaying.items() for view in _cut(row, own)]
        places = [place for pieces in self._pieces.values() for place, _ in pieces]
        self._whole = places == [slice(0, start)] and self.rule.optimizer.elementwise
        self._views = [(group, [row] if self._whole else _cut(row, pieces)) for group, pieces in self._pieces.items()]

    def step(self, slopes: Tensor, taken: Tensor, scale: float) -> None:
        """One step in place; `slopes` is the row's gradient, `taken` counts its steps."""
        optimizer, settings = self.rule.optimizer, self.rule.settings
        for view, group in self._decaying:
            view.mul_(1 - group.rate(settings) * scale * group.factor * settings["weight_decay"])
        for number, (group, parameters) in enumerate(self._views):
            if number == len(self._state):
                each = [optimizer.state(parameter, settings) for parameter in parameters]
                self._state.append({name: [state[name] for state in each] for name in each[0]})
                self._told.append(self.rule.told(group, 1.0))
            gradients = [slopes] if self._whole else _cut(slopes, self._pieces[group])
            told = self._told[number]
            told["lr"] = group.rate(settings) * scale * group.factor
            optimizer.update(parameters, gradients, self._state[number], [taken] * len(parameters), told)

    def forget(self) -> None:
        """Let go of the row and of its state."""
        self._views, self._state, self._told, self._decaying = [], [], [], []


def _join(pieces: list[tuple[slice, torch.Size]], start: int, end: int) -> None:
    """Add what lies there as a vector, to the last one if it ends where this begins."""
    if pieces and pieces[-1][0].stop == start:
        start = pieces.pop()[0].start
    pieces.append((slice(start, end), torch.Size([end - start])))


def _cut(row: Tensor, pieces: Sequence[tuple[slice, torch.Size]]) -> list[Tensor]:
    return [row[place].view(shape) for place, shape in pieces]


def in_order(named: Mapping[str, Tensor], groups: Sequence[Mapping[str, Group]]) -> dict[str, torch.Size]:
    """{name: shape} of what is in a cohort's rows: those side by side that are of one group in each member."""
    alike: dict[tuple[Group, ...], dict[str, torch.Size]] = {}
    for name, parameter in named.items():
        alike.setdefault(tuple(each[name] for each in groups), {})[name] = parameter.shape
    return {name: shape for shapes in alike.values() for name, shape in shapes.items()}


def factors(rules: Sequence[Rule], progress: float) -> list[float]:
    """Each rule's factor; computed once if all have one schedule."""
    first = rules[0]
    if all(rule.schedule is first.schedule and rule.course == first.course for rule in rules):
        return [first.factor(progress)] * len(rules)
    return [rule.factor(progress) for rule in rules]
