"""`mmbench check`: the contract tests of mmbench.testing on every part that one plugin brings."""

import importlib
import inspect
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmbench.api.roles import ROLES
from mmbench.cli import terminal
from mmbench.errors import PluginError

if TYPE_CHECKING:
    import pytest

    from mmbench.api.parts import Part

MODULE = """\
from mmbench.cli.commands.check import contracts

globals().update(contracts({plugin!r}))
"""


def check(
    plugin: Annotated[
        str, typer.Argument(metavar="PLUGIN", help="A .py file, a module, or the name of an installed distribution.")
    ],
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show where each failure happened.")] = False,
) -> None:
    """Run the contract tests on every part of a plugin.

    One line a rule; exit code 1 if one is broken.

    \b
    Examples:
      mmbench check my_fusion.py
      mmbench check mmbench_fusion
      mmbench check my_fusion.py --verbose
    """
    parts = brought(plugin)
    if not parts:
        raise PluginError(
            f"plugin {plugin!r} brings no part: it needs a hook such as mmbench_fusions (docs/plugins.md)"
        )
    outcome = _run(plugin)
    results: list[str] = []
    for part in parts:
        rules = list(outcome.rules.get(_class_name(part), {}).values())
        results += [rule.result for rule in rules]
        terminal.show(f"{part.role} {part.name}", *_lines(rules, verbose=verbose), "")
    counts = [f"{results.count(result)} {word}" for result, word in RESULTS.items() if result in results]
    terminal.show(f"{len(results)} rules: {', '.join(counts)}")
    if "fail" in results:
        if not verbose:
            again = shlex.join(["mmbench", "check", plugin, "--verbose"])
            terminal.show(f"where each failed: {again}")
        raise typer.Exit(1)


def _lines(rules: "Sequence[Rule]", *, verbose: bool) -> list[str]:
    """The rules one below the other; a reason that several share is told in full once."""
    told: set[str] = set()
    lines = []
    for rule in rules:
        again = rule.result == "fail" and not verbose and rule.reason in told
        lines += [f"{rule.head}: the same"] if again else rule.lines(verbose=verbose)
        told.add(rule.reason)
    return lines


def brought(plugin: str) -> "list[Part]":
    """The parts that `plugin` brings: a file, a module, or a distribution that is installed."""
    from mmbench import plugins

    installed = plugins.load()
    origins = [origin for shelf in installed.shelves().values() for origin in shelf.origins.values()]
    here = any(plugin in (origin.distribution, origin.module) for origin in origins)
    catalog = installed if here else plugins.load([plugin])
    return [
        part
        for shelf in catalog.shelves().values()
        for name, part in shelf.items()
        if plugin in (shelf.origins[name].distribution, shelf.origins[name].module)
    ]


def contracts(plugin: str) -> dict[str, type]:
    """A test class for each part of `plugin`, as its author would write it: the contract of its role, and `part`."""
    made: dict[str, type] = {}
    parts = brought(plugin)
    own = {part.name: part for part in parts if part.role == "head"}  # what its metrics may be about
    for part in parts:
        module, name = next(role.contract for role in ROLES if role.name == part.role)
        contract = getattr(importlib.import_module(module), name)
        made[_class_name(part)] = type(_class_name(part), (contract,), {"part": type(part), "heads": own})
    return made


def _class_name(part: "Part") -> str:
    return f"Test_{part.role}_{part.name}".replace("@", "_")


RESULTS = {"ok": "ok", "fail": "broken", "skip": "skipped"}


@dataclass
class Rule:
    """One rule of the contract for one part: a test, with all its cases."""

    name: str
    why: str
    result: str = "skip"
    cases: list[str] = field(default_factory=list)
    """Those that failed, of a rule that holds for several."""
    heard: int = 0
    """How many cases there were."""
    reason: str = ""
    trace: str = ""

    def hear(self, case: str, report: "pytest.TestReport") -> None:
        self.heard += report.when == "call"
        if report.failed:
            crash: Any = getattr(report.longrepr, "reprcrash", None)
            message = crash.message if crash else report.longreprtext
            self.reason = self.reason or " ".join(message.partition("\nassert")[0].split())
            self.trace = self.trace or report.longreprtext
            self.cases += [case] if case else []
            self.result = "fail"
        elif report.passed and self.result == "skip":
            self.result = "ok"
        elif report.skipped and isinstance(report.longrepr, tuple):
            self.reason = self.reason or str(report.longrepr[2])

    @property
    def head(self) -> str:
        some = self.cases and len(self.cases) < self.heard
        return f"  {self.result:<5} {self.name}" + (f" (with {', '.join(self.cases)})" if some else "")

    def lines(self, *, verbose: bool) -> list[str]:
        if self.result == "ok":
            return [self.head]
        lines = [f"{self.head}: {self.reason.removeprefix('AssertionError: ')}"]
        if self.result == "fail":
            lines += [f"        {line}" for line in self.why.splitlines()]
            lines += ["", self.trace, ""] if verbose else []
        return lines


@dataclass
class Outcome:
    """What pytest tells while it runs; a pytest plugin."""

    rules: dict[str, dict[str, Rule]] = field(default_factory=dict)
    """{test class: {test: rule}}"""
    broken: list[str] = field(default_factory=list)

    def pytest_collectreport(self, report: "pytest.CollectReport") -> None:
        if report.failed:
            self.broken.append(report.longreprtext.strip())

    def pytest_itemcollected(self, item: "pytest.Item") -> None:
        _, owner, name = item.nodeid.split("::", 2)
        test = name.partition("[")[0]
        why = inspect.getdoc(getattr(item, "function", None)) or ""
        rule = Rule(test.removeprefix("test_").replace("_", " "), why)
        self.rules.setdefault(owner, {}).setdefault(test, rule)

    def pytest_runtest_logreport(self, report: "pytest.TestReport") -> None:
        if report.when == "call" or not report.passed:
            _, owner, name = report.nodeid.split("::", 2)
            test, _, case = name.partition("[")
            self.rules[owner][test].hear(case.rstrip("]"), report)


def _run(plugin: str) -> Outcome:
    """Run pytest in this process, silent and blind to the settings of the folder we stand in."""
    import pytest

    if "mmbench.testing" not in sys.modules:
        pytest.register_assert_rewrite("mmbench.testing")  # or a failed assert would not say what it compared
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="mmbench-check-") as folder:
        file = Path(folder, "test_contract.py")
        file.write_text(MODULE.format(plugin=plugin), encoding="utf-8")
        settings = Path(folder, "pytest.ini")
        settings.write_text("[pytest]\n", encoding="utf-8")
        options = ["-c", str(settings), "--rootdir", folder, "-p", "no:cacheprovider", "-p", "no:terminal"]
        code = pytest.main([*options, str(file)], plugins=[outcome])
    if outcome.broken or code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise PluginError(f"the contract tests of {plugin!r} can't run: {'; '.join(outcome.broken) or code!r}")
    return outcome
