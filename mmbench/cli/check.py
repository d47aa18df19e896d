"""`mmbench check`: the contract tests of mmbench.testing on every part that one plugin brings."""

import importlib
import importlib.util
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmbench.cli import terminal
from mmbench.errors import PluginError

if TYPE_CHECKING:
    import pytest

    from mmbench.api.parts import Part

MODULE = """\
from mmbench.cli.check import contracts

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
    if importlib.util.find_spec("pytest") is None:
        raise PluginError('check needs pytest, which is an extra: pip install "mmbench[test]"')
    parts = brought(plugin)
    if not parts:
        raise PluginError(
            f"plugin {plugin!r} brings no part: it needs a hook such as mmbench_fusions (docs/plugins.md)"
        )
    outcome = _run(plugin)
    for part in parts:
        title = f"{part.role} {part.name}"
        rules = outcome.rules.get(_class_name(part), [])
        terminal.show(title, *(_line(rule, verbose=verbose) for rule in rules), "")
    count = {result: sum(r.result == result for rules in outcome.rules.values() for r in rules) for result in RESULTS}
    terminal.show(", ".join(f"{number} {RESULTS[result]}" for result, number in count.items() if number))
    if count["fail"]:
        raise typer.Exit(1)


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
    for part in brought(plugin):
        module = importlib.import_module(f"mmbench.testing.{part.role}")
        contract = getattr(module, f"{part.role.capitalize()}Contract")
        made[_class_name(part)] = type(_class_name(part), (contract,), {"part": type(part)})
    return made


def _class_name(part: "Part") -> str:
    return f"Test_{part.role}_{part.name}".replace("@", "_")


RESULTS = {"ok": "ok", "fail": "failed", "skip": "skipped"}


@dataclass(frozen=True)
class Rule:
    """One contract test of one part, and how it went."""

    name: str
    result: str
    reason: str = ""
    trace: str = ""


@dataclass
class Outcome:
    """What pytest tells while it runs; a pytest plugin."""

    rules: dict[str, list[Rule]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def pytest_collectreport(self, report: "pytest.CollectReport") -> None:
        if report.failed:
            self.broken.append(report.longreprtext.strip())

    def pytest_runtest_logreport(self, report: "pytest.TestReport") -> None:
        if report.when != "call" and report.passed:
            return
        _, owner, name = report.nodeid.split("::", 2)
        rule = name.removeprefix("test_").replace("_", " ")
        self.rules.setdefault(owner, []).append(_rule(rule, report))


def _rule(name: str, report: "pytest.TestReport") -> Rule:
    if report.passed:
        return Rule(name, "ok")
    if report.skipped:
        return Rule(name, "skip", str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else "")
    crash: Any = getattr(report.longrepr, "reprcrash", None)
    reason = crash.message if crash else report.longreprtext
    return Rule(name, "fail", reason.partition("\nassert")[0].strip(), report.longreprtext)


def _line(rule: Rule, *, verbose: bool) -> str:
    line = f"  {rule.result:<5} {rule.name}"
    if rule.reason:
        line += ": " + " ".join(rule.reason.split())
    return f"{line}\n\n{rule.trace}\n" if verbose and rule.trace else line


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
        options = ["-c", str(settings), "--rootdir", folder, "-p", "no:cacheprovider", "-p", "no:terminal", "-q"]
        code = pytest.main([*options, str(file)], plugins=[outcome])
    if outcome.broken or code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise PluginError(f"the contract tests of {plugin!r} can't run: {'; '.join(outcome.broken) or code!r}")
    return outcome
