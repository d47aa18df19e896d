"""Search spaces: what of a part may be tuned, declared as data.

Every parameter has a default, so that trial 0 is always the default configuration, and says
whether it is `structural` (changes the shape of the model or the course of training, so that two
configurations can't train in one program) and at which `stage` it acts: "prepare" for what changes
the stored arrays, "build" for the rest. The engine translates a space to Optuna; a plugin never does.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeAlias

from mmbench.errors import PluginError

Stage: TypeAlias = Literal["build", "prepare"]
Value: TypeAlias = int | float | str | bool
Params: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Parameter:
    when: Mapping[str, Value] | None = None
    """Active only if each named parameter of the same part has the given value."""
    stage: Stage = "build"
    searched: bool = True
    """Whether a search tries other values than the default where the suite says nothing."""


@dataclass(frozen=True)
class Range:
    """What a suite may put in a parameter's place: search from `low` to `high`."""

    low: float
    high: float
    log: bool | None = None
    """On a logarithmic scale; as the parameter has it if None."""


@dataclass(frozen=True)
class Int(_Parameter):
    """A whole number in [low, high]."""

    low: int
    high: int
    log: bool = field(default=False, kw_only=True)
    default: int = field(kw_only=True)
    structural: bool = field(default=True, kw_only=True)
    within: tuple[int, int] | None = field(default=None, kw_only=True)
    """What a suite may ask for; unless given, what is searched."""

    def problem(self) -> str | None:
        return _range_problem(self.low, self.high, self.default, self.log)

    def holds(self, value: object) -> bool:
        low, high = self.within or (self.low, self.high)
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    def allowed(self) -> str:
        """In words: what `holds` accepts."""
        low, high = self.within or (self.low, self.high)
        return f"a whole number from {low} to {high}"


@dataclass(frozen=True)
class Float(_Parameter):
    """A real number in [low, high]."""

    low: float
    high: float
    log: bool = field(default=False, kw_only=True)
    default: float = field(kw_only=True)
    structural: bool = field(default=False, kw_only=True)
    within: tuple[float, float] | None = field(default=None, kw_only=True)
    """What a suite may ask for; unless given, what is searched."""

    def problem(self) -> str | None:
        return _range_problem(self.low, self.high, self.default, self.log)

    def holds(self, value: object) -> bool:
        low, high = self.within or (self.low, self.high)
        return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high

    def allowed(self) -> str:
        """In words: what `holds` accepts."""
        low, high = self.within or (self.low, self.high)
        return f"a number from {low} to {high}"


@dataclass(frozen=True)
class Choice(_Parameter):
    """One of a few options."""

    options: tuple[Value, ...]
    default: Value = field(kw_only=True)
    structural: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.options))

    def problem(self) -> str | None:
        if not self.options:
            return "has no options"
        if self.default not in self.options:
            return f"default {self.default!r} is not among {list(self.options)}"
        return None

    def holds(self, value: object) -> bool:
        return any(value == option and _is_flag(value) == _is_flag(option) for option in self.options)

    def spelt(self, value: object) -> Value:
        """The option that `value` is, as the part has it: 128 where a suite says 128.0."""
        return next(option for option in self.options if value == option and _is_flag(value) == _is_flag(option))

    def allowed(self) -> str:
        """In words: what `holds` accepts."""
        return f"one of {', '.join(map(repr, self.options))}"


Parameter: TypeAlias = Int | Float | Choice
Space: TypeAlias = Mapping[str, Parameter]
Setting: TypeAlias = Value | tuple[Value, ...] | Range
"""What a suite says of a parameter: a value fixes it, several are to be chosen from, a range is searched."""


def _is_flag(value: object) -> bool:
    """Python has it that True equals 1, which is another option."""
    return isinstance(value, bool)


def _range_problem(low: float, high: float, default: float, log: bool) -> str | None:
    if not all(map(math.isfinite, (low, high, default))):
        return "has a bound or default that is not finite"
    if low > high:
        return f"has low {low} above high {high}"
    if not low <= default <= high:
        return f"default {default} lies outside [{low}, {high}]"
    if log and low <= 0:
        return f"is logarithmic, so low must be above 0, not {low}"
    return None


def check_space(space: Space, where: str) -> None:
    """Raise PluginError for the first invalid parameter of `space`; `where` names the part."""
    for name, parameter in space.items():
        if not isinstance(parameter, _Parameter):
            raise PluginError(f"{where}: space[{name!r}] must be an Int, Float or Choice, not {parameter!r}")
        if not name.isidentifier():
            raise PluginError(f"{where}: {name!r} can't be a parameter's name: use letters, digits and _")
        problem = parameter.problem()
        if problem:
            raise PluginError(f"{where}: space[{name!r}] {problem}")
        for other, value in (parameter.when or {}).items():
            known = list(space)
            if other not in space or known.index(other) >= known.index(name):
                raise PluginError(f"{where}: space[{name!r}] depends on {other!r}, which must stand before it")
            if not space[other].holds(value):
                raise PluginError(f"{where}: space[{name!r}] waits for {other} = {value!r}, which can't be")


def narrowed(parameter: Parameter, setting: Setting) -> Parameter:
    """The parameter as a suite narrows it. Raises ValueError, which says why, if that is impossible."""
    if isinstance(setting, Range):
        return _ranged(parameter, setting)
    values = setting if isinstance(setting, tuple) else (setting,)
    for value in values:
        if not parameter.holds(value):
            raise ValueError(f"can't be {value!r}: it is {parameter.allowed()}")
    if isinstance(parameter, Choice):
        values = tuple(map(parameter.spelt, values))
    default = parameter.default if parameter.default in values else values[0]
    return Choice(values, default=default, structural=parameter.structural, when=parameter.when, stage=parameter.stage)


def _ranged(parameter: Parameter, setting: Range) -> Parameter:
    if isinstance(parameter, Choice):
        raise ValueError(f"can't be a range: it is {parameter.allowed()}")
    for end in (setting.low, setting.high):
        if not parameter.holds(end):
            raise ValueError(f"can't be {end!r}: it is {parameter.allowed()}")
    log = parameter.log if setting.log is None else setting.log
    ends: dict[str, Any] = {"low": setting.low, "high": setting.high}
    ends["default"] = min(max(parameter.default, setting.low), setting.high)
    found: Parameter = replace(parameter, log=log, searched=True, **ends)
    problem = found.problem()
    if problem:
        raise ValueError(f"can't be searched so: it {problem}")
    return found


def described(parameter: Parameter) -> str:
    """The parameter in words that stay the same when a later version knows more of parameters: what is usual is left
    out."""
    plain = {f.name: f.default for f in fields(parameter)}
    own = {name: getattr(parameter, name) for name in plain}
    return f"{type(parameter).__name__} {dict(sorted((n, v) for n, v in own.items() if v != plain[n]))}"


def active(parameter: Parameter, chosen: Params) -> bool:
    """Whether `parameter` matters, given the values chosen so far for the same part."""
    return all(other in chosen and chosen[other] == value for other, value in (parameter.when or {}).items())


def defaults(space: Space, stage: Stage | None = None) -> dict[str, Value]:
    """The default configuration: each active parameter's default, of one `stage` or of both."""
    chosen: dict[str, Value] = {}
    for name, parameter in space.items():
        if active(parameter, chosen):
            chosen[name] = parameter.default
    return {name: value for name, value in chosen.items() if stage in (None, space[name].stage)}
