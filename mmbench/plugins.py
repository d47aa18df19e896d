"""Finds plugins and gathers their parts into a Catalog. Called once a process by cli, session and workers.

There is no global plugin manager: `load` makes a fresh one each time, so two Catalogs never mix.
"""

import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

import pluggy

from mmbench import hookspecs
from mmbench import sources as sources_
from mmbench.api.data import KINDS
from mmbench.api.executor import Executor
from mmbench.api.parts import Corruption, Dataset, Encoder, Fusion, Metric, Objective, Part
from mmbench.api.parts.compressor import Compressor
from mmbench.api.parts.head import Head
from mmbench.api.parts.training import Optimizer, Schedule
from mmbench.api.roles import ROLES, Role
from mmbench.api.space import check_space
from mmbench.api.suite import OwnData
from mmbench.errors import MMBenchError, PluginError, SuiteError, blamed, unknown

P = TypeVar("P")
_one = threading.RLock()
FILE = "mmbench_plugin_"  # begins the module's name of a plugin that is a file
UNKNOWN = "?"
NAME = re.compile(r"[a-z_][a-z0-9_@]{0,99}")  # of another script's letters some look the same as these


@dataclass(frozen=True)
class Origin:
    """Where a part came from: the distribution and the module that registered it."""

    distribution: str
    module: str

    @property
    def is_own(self) -> bool:
        """Whether it comes with mmbench."""
        return self.distribution == hookspecs.PROJECT

    @property
    def shown(self) -> str:
        """What a message calls it: the file that was named, or the module."""
        return self.distribution if self.module.startswith(FILE) else self.module


class Shelf(Mapping[str, P], Generic[P]):
    """The parts of one role, by name. Looking up a name that isn't there says which name is near."""

    def __init__(self, role: str, parts: Mapping[str, P], origins: Mapping[str, Origin]):
        self.role, self._parts, self.origins = role, dict(parts), dict(origins)

    def __getitem__(self, name: str) -> P:
        if name not in self._parts:
            said = unknown(self.role, name, self._parts)
            raise SuiteError(said if said.endswith("?") else f"{said}; --plugin loads what is not installed")
        return self._parts[name]

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    @property
    def usual(self) -> P:
        """The part that says it is taken where a suite names none. Raises PluginError unless there is exactly one."""
        found = [name for name, part in self._parts.items() if getattr(part, "usual", False)]
        if len(found) != 1:
            said = f"{', '.join(found)} each say" if found else "none says"
            raise PluginError(
                f"of the {self.role}s {said} `usual = True`: exactly one is taken where a suite names none"
            )
        return self._parts[found[0]]

    def __len__(self) -> int:
        return len(self._parts)


@dataclass(frozen=True)
class Catalog:
    """Every part that the installed and the named plugins bring."""

    datasets: Shelf[Dataset]
    encoders: Shelf[Encoder]
    fusions: Shelf[Fusion]
    objectives: Shelf[Objective]
    optimizers: Shelf[Optimizer]
    schedules: Shelf[Schedule]
    compressors: Shelf[Compressor]
    heads: Shelf[Head]
    metrics: Shelf[Metric]
    corruptions: Shelf[Corruption]
    executors: Shelf[type[Executor]]
    manager: pluggy.PluginManager
    sources: tuple[str, ...]
    """The `--plugin` arguments it was loaded with; a worker loads those of them that it needs."""
    own: Mapping[str, OwnData] = field(default_factory=dict)
    """What a suite says of its own data sets, which are among `datasets`."""
    own_encoders: Mapping[str, OwnData] = field(default_factory=dict)
    """What a suite says of its own encoders, which are among `encoders`."""

    def with_own(self, own: Mapping[str, OwnData], encoders: Mapping[str, OwnData] | None = None) -> "Catalog":
        """The same with the data sets and encoders that a suite describes. Raises SuiteError for what is wrong in its
        tables."""
        hook, found = self.manager.hook, self
        if own:
            taken = "a data set of a plugin has that name; rename the task"
            datasets = _described(self.datasets, own, hook.mmbench_own_data, "task {!r}, data", taken)
            found = replace(found, datasets=datasets, own={**self.own, **own})
        if encoders:
            taken = "an encoder of a plugin has that name; rename it"
            readers = _described(self.encoders, encoders, hook.mmbench_own_encoder, "[encoder.{}]", taken)
            found = replace(found, encoders=readers, own_encoders={**self.own_encoders, **encoders})
        return found

    @cached_property
    def code(self) -> dict[str, str]:
        """{plugin: a hash of its files}, of every plugin that was loaded."""
        found: dict[str, str] = {}
        for module in sorted(self.manager.get_plugins(), key=lambda module: str(module.__file__)):
            place = Path(str(module.__file__))
            files = sorted(place.parent.rglob("*.py")) if place.name == "__init__.py" else [place]
            lines = [f"{file.relative_to(place.parent)} {sources_.file_hash(file)}" for file in files]
            name = place.name if module.__name__.startswith(FILE) else str(module.__name__)
            while name in found:  # two files of one name, in two folders
                name += "'"
            found[name] = hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:16]
        return dict(sorted(found.items()))

    def shelves(self) -> dict[str, Shelf[Part]]:
        """{"datasets": shelf, ...}, in the order of the command line's help."""
        return {role.plural: getattr(self, role.plural) for role in ROLES}


@dataclass(frozen=True)
class Needed:
    """Which plugins a process loads: what others do when they are imported must not reach its parts."""

    sources: tuple[str, ...]
    """`--plugin` arguments."""
    installed: tuple[str, ...] | None
    """Modules of installed plugins, beside those that come with mmbench; None: all."""
    own: Mapping[str, OwnData] = field(default_factory=dict)
    """Data sets that the suite describes."""
    encoders: Mapping[str, OwnData] = field(default_factory=dict)
    """Encoders that the suite describes."""

    def load(self) -> Catalog:
        """The Catalog of these plugins, data sets and encoders."""
        return load(self.sources, self.installed).with_own(self.own, self.encoders)


def needed(catalog: Catalog, parts: Iterable[tuple[str, str]]) -> Needed:
    """The plugins that bring these parts, each a role and a name."""
    shelves, parts = catalog.shelves(), list(parts)
    origins = [shelves[f"{role}s"].origins[name] for role, name in parts]
    own = {name: catalog.own[name] for role, name in parts if role == "dataset" and name in catalog.own}
    described = catalog.own_encoders
    encoders = {name: described[name] for role, name in parts if role == "encoder" and name in described}
    modules = {origin.module for origin in origins}
    if UNKNOWN in {origin.distribution for origin in origins}:  # by whom it was registered, nobody can say
        return Needed(catalog.sources, None, own, encoders)
    named = {origin.distribution for origin in origins}
    return Needed(tuple(s for s in catalog.sources if s in named), tuple(sorted(modules)), own, encoders)


def _described(shelf: Shelf[P], own: Mapping[str, OwnData], hook: Any, place: str, taken: str) -> Shelf[P]:
    """The shelf with what a suite describes. place: where its table stands; taken: what is wrong if a plugin's part has
    that name."""
    found, origins = dict(shelf), dict(shelf.origins)
    modules = {entry.value for entry in entry_points(group=hookspecs.PROJECT)}
    for name, data in own.items():
        where = place.format(name)
        if name in shelf:
            raise SuiteError(f"{where}: {taken}")
        try:
            part = hook(name=name, table=data.table, folder=Path(data.folder))
        except MMBenchError as error:
            raise SuiteError(f"{where}: {error}") from error
        if part is None or (problem := part.problem()):
            raise SuiteError(f"{where}: {problem if part else 'no plugin reads it'}")
        module = type(part).__module__.partition(".")[0]
        found[name], origins[name] = part, Origin(hookspecs.PROJECT if module in modules else UNKNOWN, module)
    return Shelf(shelf.role, found, origins)


def load(sources: Sequence[str] = (), installed: Collection[str] | None = None) -> Catalog:
    """Load the plugins of the entry-point group "mmbench" and those named in `sources`, modules or .py files.

    installed: of the plugins that do not come with mmbench, those of these modules only.

    Raises PluginError if a plugin fails to import, misspells a hook, or brings a part that breaks the
    contract or has the name of another.
    """
    with _one:  # a module that another thread is importing is there already, and not yet whole
        return _load(sources, installed)


def _load(sources: Sequence[str], installed: Collection[str] | None) -> Catalog:
    sources_.forget_changed()
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    origins: dict[str, Origin] = {}
    for entry in entry_points(group=hookspecs.PROJECT):
        origin = Origin(entry.dist.name if entry.dist else UNKNOWN, entry.value)
        if not (installed is None or origin.is_own or entry.value in installed):
            continue
        try:
            module = entry.load()
        except Exception as error:
            raise PluginError(f"plugin {entry.name!r} ({entry.value}) fails to import: {blamed(error)}") from error
        _register(manager, module, entry.value)
        origins[entry.value] = origin
    for source in sources:
        module, name = _import(source)
        if module not in manager.get_plugins():
            _register(manager, module, source)
            origins[name] = Origin(source, name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(blamed(error)) from error
    sources_.remember()
    shelves = {role.plural: _shelf(manager, role, origins) for role in ROLES}
    executors = _executors(manager, origins)
    return Catalog(**shelves, executors=executors, manager=manager, sources=tuple(map(str, sources)))


def _import(source: str) -> tuple[ModuleType, str]:
    path = Path(source)
    if path.suffix != ".py":
        if not all(name.isidentifier() for name in source.split(".")):
            raise PluginError(f"plugin {source!r} is neither a .py file nor the name of a module")
        try:
            _find_here(source.partition(".")[0])
            return importlib.import_module(source), source
        except Exception as error:
            raise PluginError(f"plugin {source!r} fails to import: {blamed(error)}") from error
    if not path.is_file():
        raise PluginError(f"plugin file {source!r} does not exist")
    name = f"{FILE}{path.stem}_{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name], name
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"plugin file {source!r} is not something Python can import")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise PluginError(f"plugin file {source!r} fails to import: {blamed(error)}") from error
    return module, name


def _find_here(name: str) -> None:
    """Load a module or package of the current folder that was named, unless one of that name is installed. The folder
    itself is on no path: what else lies in it was not named."""
    if name in sys.modules or importlib.util.find_spec(name) is not None:
        return
    for file in (Path(name, "__init__.py").absolute(), Path(f"{name}.py").absolute()):
        spec = importlib.util.spec_from_file_location(name, file) if file.is_file() else None
        if spec and spec.loader:
            sys.modules[name] = module = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[name]
                raise
            return


def _register(manager: pluggy.PluginManager, module: ModuleType, source: str) -> None:
    hooks = {name for name in vars(hookspecs) if name.startswith("mmbench_")}
    for name in vars(module):
        if name.startswith("mmbench_") and callable(getattr(module, name)) and name not in hooks:
            raise PluginError(f"plugin {source!r}: {unknown('hook', name, hooks)}")
    try:
        manager.register(module, name=module.__name__)
    except (ValueError, pluggy.PluginValidationError) as error:
        raise PluginError(f"plugin {source!r}: {blamed(error)}") from error


def _classes(
    manager: pluggy.PluginManager, hook: str, base: type[P], origins: Mapping[str, Origin]
) -> Iterator[tuple[type[P], Origin]]:
    """What each plugin answers to a hook that asks for classes."""
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        module = implementation.plugin_name
        origin = origins.get(module, Origin(UNKNOWN, module))
        shown = origin.shown
        try:
            found = implementation.function()
        except Exception as error:
            raise PluginError(f"plugin {shown!r}: {hook} raises {blamed(error)}") from error
        if not isinstance(found, list | tuple):
            raise PluginError(f"plugin {shown!r}: {hook} must return a list of classes, not {found!r}")
        for part in found:
            if not (inspect.isclass(part) and issubclass(part, base)):
                raise PluginError(f"plugin {shown!r}: {hook} gives {part!r}, which is no {base.__name__}")
            yield part, origin


def _shelf(manager: pluggy.PluginManager, role: Role, origins: Mapping[str, Origin]) -> Shelf[Any]:
    parts: dict[str, Part] = {}
    where: dict[str, Origin] = {}
    for part, origin in _classes(manager, role.hook, role.base, origins):
        _check(part, role, origin.shown)
        _place(part.name, role.plural, where, origin)
        parts[part.name] = part()
    return Shelf(role.name, dict(sorted(parts.items())), where)


def _executors(manager: pluggy.PluginManager, origins: Mapping[str, Origin]) -> Shelf[type[Executor]]:
    """Classes, of which each run makes its own."""
    found: dict[str, type[Executor]] = {}
    where: dict[str, Origin] = {}
    for executor, origin in _classes(manager, "mmbench_executors", Executor, origins):  # type: ignore[type-abstract]
        said = f"plugin {origin.shown!r}: executor {executor.__name__}"
        _check_name(executor, said)
        lacking = sorted(getattr(executor, "__abstractmethods__", ()))
        if lacking:
            raise PluginError(f"{said} needs the method {lacking[0]!r}")
        _place(executor.name, "executors", where, origin)
        found[executor.name] = executor
    return Shelf("executor", dict(sorted(found.items())), where)


def _place(name: str, plural: str, where: dict[str, Origin], origin: Origin) -> None:
    """Note where a name comes from, unless it is taken."""
    if name in where:
        raise PluginError(f"two {plural} are named {name!r}: {where[name].shown} and {origin.shown}; rename one")
    where[name] = origin


def _check_name(part: type, where: str) -> None:
    name = getattr(part, "name", None)
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise PluginError(f"{where} needs a name of lower-case letters, digits and _, not {name!r}")


def _check(part: type[Part], role: Role, shown: str) -> None:
    where = f"plugin {shown!r}: {role.name} {part.__name__}"
    _check_name(part, where)
    for attribute in role.needs:
        if not hasattr(part, attribute):
            raise PluginError(f"{where} needs the attribute {attribute!r}")
    for carrier in part.carriers if issubclass(part, Encoder) else ():
        if carrier.holds != "weights":
            raise PluginError(f'{where}: its carrier {carrier.package!r} needs holds="weights", or it can\'t be read')
    for kind in part().kinds_read():
        if kind not in KINDS:
            raise PluginError(f"{where}: {unknown('kind of modality', kind, KINDS)}")
    if problem := part().problem():
        raise PluginError(f"{where}: {problem}")
    check_space(part.space, where)


def summary(part: Part) -> str:
    """The first line of the part's docstring."""
    return (inspect.getdoc(type(part)) or "").partition("\n")[0]


def parts_of(catalog: Catalog) -> Iterable[Part]:
    """Every part, shelf by shelf."""
    for shelf in catalog.shelves().values():
        yield from shelf.values()
