"""A cell's key: whatever its result depends on makes it another cell, and nothing else does."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mmbench import plugins, session, sources
from mmbench.api.suite import Suite
from mmbench.engine import identity
from mmbench.engine import plan as planning
from mmbench.engine.events import TrialFinished
from mmbench.store import reading, suitefile

HERE = Path(__file__).parent
SUITE = replace(suitefile.read(HERE / "chaos.toml"), contenders=suitefile.read(HERE / "chaos.toml").contenders[-1:])
PACKAGE = {
    "__init__.py": "from outside.parts import mmbench_fusions\n",
    "parts.py": '''
import mmbench as mb


class Mine(mb.Fusion):
    """A sum."""

    name = "mine"
    space = {"scale": mb.Float(0.5, 2.0, default=1.0)}

    def build(self, inputs, width, params):
        from outside.modules.sum import Sum

        return Sum(inputs, width, params["scale"])


@mb.hookimpl
def mmbench_fusions():
    return [Mine]
''',
    "modules/__init__.py": "",
    "modules/sum.py": """
from torch import nn

from outside.modules.scale import scale


class Sum(nn.Module):
    def __init__(self, inputs, width, by):
        super().__init__()
        self.project = nn.ModuleDict({m: nn.Linear(spec.width, width) for m, spec in inputs.items()})
        self.by = by

    def forward(self, features):
        return scale(sum(self.project[m](f.pooled) for m, f in features.items()), self.by)
""",
    "modules/scale.py": "def scale(value, by):\n    return value * by\n",
    "stranger.py": "nothing = 1\n",
}


def keys(suite: Suite = SUITE, device: str = "cpu") -> list[str]:
    catalog = plugins.load([str(HERE / "parts.py")])
    return [cell.key for cell in planning.make(suite, catalog, device=device).cells]


def task(suite: Suite, **changes: object) -> Suite:
    return replace(suite, tasks=(replace(suite.tasks[0], **changes),))  # type: ignore[arg-type]


def budget(suite: Suite, **changes: object) -> Suite:
    return replace(suite, budget=replace(suite.budget, **changes))  # type: ignore[arg-type]


MATTERS: dict[str, Callable[[Suite], Suite]] = {
    "trials": lambda suite: budget(suite, trials=5),
    "batch": lambda suite: budget(suite, batch=1),
    "epochs": lambda suite: budget(suite, epochs=4),
    "patience": lambda suite: budget(suite, patience=suite.budget.patience + 1),
    "refit seeds": lambda suite: budget(suite, refit_seeds=3),
    "trial seconds": lambda suite: budget(suite, trial_seconds=299.0),
    "seed": lambda suite: replace(suite, seed=suite.seed + 1),
    "limit": lambda suite: replace(suite, limit=50),
    "metric": lambda suite: task(suite, metric="f1"),
    "modalities": lambda suite: task(suite, modalities=("left",)),
    "task's parameters": lambda suite: task(suite, params={"train.lr": 0.001}),
    "contender's parameters": lambda suite: replace(
        suite, contenders=(replace(suite.contenders[0], params={"train.lr": 0.001}),)
    ),
}
INDIFFERENT: dict[str, Callable[[Suite], Suite]] = {
    "the suite's name": lambda suite: replace(suite, name="other"),
    "its version": lambda suite: replace(suite, version=2),
    "other contenders": lambda suite: replace(
        suite, contenders=(*suite.contenders, replace(suite.contenders[0], name="another"))
    ),
}


@pytest.mark.parametrize("what", MATTERS)
def test_what_matters_makes_another_cell(what: str) -> None:
    assert not set(keys(MATTERS[what](SUITE))) & set(keys())


@pytest.mark.parametrize("what", INDIFFERENT)
def test_what_does_not_matter_does_not(what: str) -> None:
    assert set(keys(INDIFFERENT[what](SUITE))) >= set(keys())


def test_the_class_of_device_matters_and_its_number_does_not() -> None:
    assert keys(device="cuda") != keys()
    assert keys(device="cuda:1") == keys(device="cuda:0") == keys(device="cuda")


def test_a_librarys_version_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    before, plain = keys(), sources._version("torch")
    monkeypatch.setattr(sources, "_version", lambda name: f"{plain}.1" if name == "torch" else plain)
    assert keys() != before


def test_the_build_of_a_library_does_not() -> None:
    assert "+" not in sources._version("torch")


def test_the_protocol_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys()
    monkeypatch.setattr(identity, "PROTOCOL", identity.PROTOCOL + 1)
    assert keys() != before


def write(package: Path, **changed: str) -> None:
    for name, text in PACKAGE.items():
        path = package / "outside" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(changed.get(Path(name).stem, text))


def planned(package: Path) -> str:
    """The key in a fresh process, as code is read once."""
    program = (
        "import sys; from pathlib import Path; from mmbench import plugins;"
        "from mmbench.store import suitefile; from mmbench.engine import plan;"
        "catalog = plugins.load([sys.argv[2], 'outside']); suite = suitefile.read(Path(sys.argv[1]));"
        "print(*(c.key for c in plan.make(suite, catalog, contenders=['mine']).cells))"
    )
    path = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-B", "-c", program, str(HERE / "chaos.toml"), str(HERE / "parts.py")]
    environ = os.environ | {"PYTHONPATH": path}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.strip()


def test_the_code_of_a_part_and_of_what_it_imports_matters(tmp_path: Path) -> None:
    write(tmp_path)
    before = planned(tmp_path)
    assert before == planned(tmp_path)
    write(tmp_path, stranger="nothing = 2\n")
    assert planned(tmp_path) == before, "a module that the part does not import"
    write(tmp_path, scale=PACKAGE["modules/scale.py"].replace("value * by", "value / by"))
    deep = planned(tmp_path)
    assert deep != before, "a module that is imported by one that is imported inside a function"
    write(tmp_path, parts=PACKAGE["parts.py"].replace("default=1.0", "default=1.1"))
    assert planned(tmp_path) not in (before, deep)


def test_a_real_run_computes_what_changed_and_only_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin's file is edited between two runs of one suite in one folder."""
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))
    suite = budget(SUITE, trials=1, batch=1, epochs=1, refit_seeds=1)
    source = (HERE / "parts.py").read_text()

    def computed(text: str, place: str) -> int:
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "parts.py").write_text(text)
        heard: list[object] = []
        run = session.run(
            suite, plugins=[str(tmp_path / place / "parts.py")], results=tmp_path / "results", on_event=heard.append
        )
        assert [record.status for record in run.data.records] == ["ok"], "one row a contender, whatever came before"
        return sum(isinstance(event, TrialFinished) for event in heard)

    assert computed(source, "one") == 1
    assert computed(source, "two") == 0, "the same code elsewhere"
    assert computed(source.replace("time.sleep(0.05)", "time.sleep(0.04)"), "three") == 1
    assert len(reading.history(tmp_path / "results" / "chaos")) == 2, "the earlier cell is still there"
