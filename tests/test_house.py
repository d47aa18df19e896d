"""The rules of the house, held by reading the code: floors, light imports, small files, documented hooks."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from mmbench.testing.rules.part import heads

ROOT = Path(__file__).parent.parent
CORE = sorted((ROOT / "mmbench").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
PACKAGES = {path.parent.name for path in (ROOT / "plugins").glob("*/*/__init__.py")}
FLOORS = {
    "errors": 0,
    "sources": 1,
    "api": 2,
    "hookspecs": 3,
    "plugins": 4,
    "engine": 5,
    "store": 5,
    "trust": 6,
    "board": 7,
    "rescoring": 8,
    "session": 9,
    "preparing": 9,
    "reproduce": 9,
    "testing": 9,
    "exports": 10,
    "cli": 11,
    "__main__": 12,
}
ENGINE = {
    "clock": 0,
    "cores": 0,
    "space": 0,
    "events": 1,
    "identity": 1,
    "slots": 1,
    "plan": 2,
    "data": 2,
    "learn": 3,
    "jobs": 4,
    "executors": 5,
    "environment": 6,
    "outcome": 7,
    "run": 8,
    "runner": 9,
}
"""The floors inside the engine."""
HEAVY = {"torch", "optuna", "datasets", "transformers", "numpy", "pandas", "sklearn", "scipy"}
LIGHT = {
    "__main__",
    "errors",
    "sources",
    "api",
    "hookspecs",
    "plugins",
    "store",
    "trust",
    "board",
    "cli",
    "rescoring",
    "session",
    "preparing",
    "reproduce",
    "__init__",
}


def tree(path: Path) -> ast.Module:
    return parsed(path.read_text(encoding="utf-8"))


@cache
def parsed(text: str) -> ast.Module:
    return ast.parse(text)


def imported(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """The full names that import statements name: "mmbench.api.data.Label" for `from mmbench.api.data import Label`."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """The statements that run when a module is imported, `if TYPE_CHECKING` left out."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from at_import(node.orelse)
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
            inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
            yield from at_import(inner)


def floor_of(path: Path) -> str:
    return path.relative_to(ROOT / "mmbench").parts[0].removesuffix(".py")


def floor_of_name(target: str) -> str | None:
    """The floor of "mmbench.api.data.Label"; None for what is no part of the house, or its front door."""
    package, _, rest = target.partition(".")
    floor = rest.split(".")[0]
    return floor if package == "mmbench" and floor in FLOORS else None


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_imports_run_downward_only() -> None:
    wrong = []
    for path in CORE:
        own = floor_of(path)
        for target in imported(ast.walk(tree(path))) if own != "__init__" else ():
            other = floor_of_name(target)
            if other and other != own and FLOORS[other] >= FLOORS[own]:
                wrong.append(f"{name(path)} imports {target}")
    assert not wrong


def test_the_engine_has_floors_too() -> None:
    wrong = []
    for path in (ROOT / "mmbench/engine").rglob("*.py"):
        own = path.relative_to(ROOT / "mmbench/engine").parts[0].removesuffix(".py")
        for target in imported(ast.walk(tree(path))):
            other = target.removeprefix("mmbench.engine.").partition(".")[0]
            if target.startswith("mmbench.engine.") and other != own and ENGINE[other] >= ENGINE[own]:
                wrong.append(f"{name(path)} imports {target}")
    assert not wrong


def test_no_modules_import_each_other() -> None:
    """Not in a circle of any length, imports inside functions included."""
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in CORE}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        targets = set(imported(ast.walk(tree(path)))) if path.name != "__init__.py" else set()
        graph[module] = {m for t in targets for m in (t, t.rpartition(".")[0]) if m in modules and m != module}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"these import each other: {' <- '.join(error.args[1])}")


def test_the_core_knows_no_plugin() -> None:
    found = [(name(path), target) for path in CORE for target in imported(ast.walk(tree(path)))]
    assert not [(path, target) for path, target in found if target.split(".")[0] in PACKAGES]


def test_a_plugin_knows_the_contract_only() -> None:
    wrong = []
    for path in PLUGINS:
        package = path.relative_to(ROOT / "plugins").parts[1]
        for target in imported(ast.walk(tree(path))):
            stranger = target.split(".")[0] in PACKAGES - {package}
            if stranger or floor_of_name(target) not in (None, "api", "errors"):
                wrong.append(f"{name(path)} imports {target}")
    assert not wrong


def types_named(path: Path) -> Iterator[str]:
    """Where a file asks for a type of target, or for a head, by name: `isinstance(x, Label)`, `target == "match"`."""
    types = {word for name in heads() for word in (name, name.capitalize(), f"{name.capitalize()}Head")}
    for node in ast.walk(tree(path)):
        words: set[str] = set()
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            words = {name.rpartition(".")[2] for name in re.findall(r"[\w.]+", ast.unparse(node.args[1]))}
        elif isinstance(node, ast.Compare):
            sides = [ast.unparse(side) for side in (node.left, *node.comparators)]
            about = any(re.search(r"target|head|type|metric", side) for side in sides)
            words = set(re.findall(r"'(\w+)'", " ".join(sides))) if about else set()
        if words & types:
            yield f"{name(path)}: {ast.unparse(node)}"


def test_only_heads_know_types_of_target() -> None:
    assert not [found for path in CORE for found in types_named(path)]


def test_a_type_of_target_that_is_asked_for_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    file = tmp_path / "asks.py"
    for code in ("isinstance(t, mb.Match)", "target.type == 'label'", "'number' in metric.targets"):
        file.write_text(code)
        assert len(list(types_named(file))) == 1, code
    file.write_text("kind == 'text' or isinstance(x, str) or {'number': 1}")
    assert not list(types_named(file))


def test_nothing_heavy_is_imported_at_module_level() -> None:
    wrong = {}
    for path in CORE:
        heavy = HEAVY & {target.split(".")[0] for target in imported(at_import(tree(path).body))}
        if floor_of(path) in LIGHT and heavy:
            wrong[name(path)] = heavy
    assert not wrong


def test_a_file_is_read_in_one_sitting() -> None:
    lengths = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in [*CORE, *PLUGINS, *TESTS]}
    assert not {path: length for path, length in lengths.items() if length > 400}


def test_a_module_says_what_it_is() -> None:
    silent = [name(path) for path in [*CORE, *PLUGINS] if tree(path).body and not ast.get_docstring(tree(path))]
    assert not silent


def test_a_folder_is_seen_at_a_glance() -> None:
    crowded = {}
    for top in ("mmbench", "plugins", "docs", "suites", "benchmarks"):
        for folder in [ROOT / top, *(ROOT / top).rglob("*/")]:
            files = [f for f in folder.glob("*") if f.is_file() and f.name != "__init__.py"]
            if "__pycache__" not in folder.parts and len(files) > 12:
                crowded[name(folder)] = len(files)
    assert not crowded


def hooks(path: Path) -> dict[str, str]:
    """{name: signature} of the hooks that a module defines."""
    return {
        node.name: f"{node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns) if node.returns else 'None'}"
        for node in tree(path).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("mmbench_")
    }


def test_every_hook_is_documented_with_its_signature() -> None:
    specified = hooks(ROOT / "mmbench/hookspecs.py")
    page = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^### `((mmbench_\w+)\(.*)`$", page, flags=re.MULTILINE))
    assert {signature.replace("'", "").replace('"', "") for signature in specified.values()} == set(documented)


def clean(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_check() -> None:
    clean("ruff", "check", ".")


def test_ruff_format() -> None:
    clean("ruff", "format", "--check", ".")


@pytest.mark.slow  # over a minute where it has no cache of its own
def test_mypy() -> None:
    clean("mypy", "mmbench", "plugins", "tests")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["list"], ["list", "--format", "json"]], ids=" ".join
)
def test_light_commands_load_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys; from mmbench.cli.app import call; code = call(sys.argv[1:]);"
        f"print('loaded:', sorted({HEAVY!r} & set(sys.modules)), code)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: [] 0", done.stdout
