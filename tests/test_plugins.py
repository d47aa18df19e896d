"""The Catalog: where plugins are found, and each way in which one can be wrong."""

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from mmbench import hookspecs, plugins
from mmbench.api.roles import ROLES, Role
from mmbench.cli import templates
from mmbench.cli.commands.new import What
from mmbench.engine import identity
from mmbench.errors import PluginError, SuiteError

Write = Callable[..., str]
FUSION = """
import mmbench as mb

class Mine(mb.Fusion):
    "A sum."
    name = {name!r}
    space = {{"rank": mb.Int(1, 8, default=2)}}

@mb.hookimpl
def mmbench_fusions():
    return [Mine]
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module, importable by its name and given by its path."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(code: str, name: str = "strange_plugin.py") -> str:
        path = tmp_path / name
        path.write_text(dedent(code), encoding="utf-8")
        sys.modules.pop(path.stem, None)
        return str(path)

    return make


def refused(source: str) -> str:
    with pytest.raises(PluginError) as error:
        plugins.load([source])
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_built_in_parts_come_through_entry_points() -> None:
    catalog = plugins.load()
    assert {"concat", "gated"} <= set(catalog.fusions)
    assert catalog.fusions.origins["concat"].distribution == "mmbench"
    assert plugins.summary(catalog.fusions["concat"]).endswith(".")


def test_a_file_brings_its_parts(write: Write) -> None:
    path = write(FUSION.format(name="mine"))
    catalog = plugins.load([path])
    assert catalog.fusions["mine"].space["rank"].default == 2
    assert catalog.fusions.origins["mine"].distribution == path
    assert catalog.sources == (path,)
    assert "mine" not in plugins.load().fusions, "two Catalogs never mix"


def test_a_module_brings_its_parts(write: Write) -> None:
    write(FUSION.format(name="mine"))
    assert "mine" in plugins.load(["strange_plugin"]).fusions


def test_the_same_source_twice_is_loaded_once(write: Write) -> None:
    path = write(FUSION.format(name="mine"))
    assert "mine" in plugins.load([path, path]).fusions


def test_a_plugin_that_is_installed_may_be_named_too() -> None:
    assert "concat" in plugins.load(["mmbench_fusion"]).fusions


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    catalog = plugins.load()
    with pytest.raises(SuiteError, match=r"unknown fusion 'concatt': did you mean 'concat'\?"):
        catalog.fusions["concatt"]
    with pytest.raises(SuiteError, match=r"unknown fusion 'zzzzzz': known are .*concat, "):
        catalog.fusions["zzzzzz"]


def test_shelves_are_sorted_and_every_part_is_on_one() -> None:
    catalog = plugins.load()
    for shelf in catalog.shelves().values():
        assert list(shelf) == sorted(shelf)
    assert len(list(plugins.parts_of(catalog))) == sum(map(len, catalog.shelves().values()))


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_role_has_a_hook_a_shelf_a_contract_and_a_beginning(role: Role) -> None:
    module, contract = role.contract
    assert role.base.role == role.name
    assert callable(getattr(hookspecs, role.hook))
    assert plugins.load().shelves()[role.plural].role == role.name
    assert hasattr(importlib.import_module(module), contract)
    assert role.name in list(What)
    assert templates.files(role.name)


def test_a_source_hash_changes_with_the_code_only(write: Write) -> None:
    first = plugins.load([write(FUSION.format(name="mine"))]).fusions["mine"]
    other = plugins.load([write(FUSION.format(name="mine") + "\nchanged = 1\n", "other_plugin.py")]).fusions["mine"]
    assert identity.source(first).hash == identity.source(first).hash
    assert identity.source(first).hash != identity.source(other).hash


def test_a_failing_import(write: Write) -> None:
    assert "fails to import: ModuleNotFoundError: No module named 'absent'" in refused(write("import absent"))
    assert re.search(r"ZeroDivisionError: .* \(zero_plugin.py, line 2\)$", refused(write("\n1 / 0", "zero_plugin.py")))
    assert "fails to import: SyntaxError" in refused(write("def", "syntax_plugin.py"))
    assert "plugin 'no_such_module' fails to import" in refused("no_such_module")
    for folder in (".", "./here", "mine-part", ""):
        assert f"plugin {folder!r} is neither a .py file nor the name of a module" in refused(folder)


def test_a_file_that_failed_can_be_mended(write: Write) -> None:
    refused(write("1 / 0"))
    assert "mine" in plugins.load([write(FUSION.format(name="mine"))]).fusions


def test_a_missing_file() -> None:
    assert "plugin file 'absent.py' does not exist" in refused("absent.py")


@pytest.mark.parametrize("mark", ["", "@mb.hookimpl\n"])
def test_a_misspelt_hook_marked_or_not(write: Write, mark: str) -> None:
    said = refused(write(f"import mmbench as mb\n{mark}def mmbench_fusion(): return []"))
    assert "unknown hook 'mmbench_fusion': did you mean 'mmbench_fusions'?" in said


def test_a_hook_with_arguments_that_it_is_not_given(write: Write) -> None:
    said = refused(write("import mmbench as mb\n@mb.hookimpl\ndef mmbench_fusions(catalog): return []"))
    assert "mmbench_fusions" in said


def test_two_parts_of_one_name(write: Write) -> None:
    said = refused(write(FUSION.format(name="concat")))
    assert re.search(r"two fusions are named 'concat': mmbench_fusion and /.*/strange_plugin.py; rename one", said)
    assert said.endswith("rename one")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("return None", "must return a list of classes, not None"),
        ("return Mine", "must return a list of classes"),
        ("return [Mine()]", "which is no Fusion"),
        ("return [int]", "gives <class 'int'>, which is no Fusion"),
        ("return [mb.Metric]", "which is no Fusion"),
        ("raise ValueError('not today')", "mmbench_fusions raises ValueError: not today"),
    ],
)
def test_a_hook_that_gives_something_else(write: Write, code: str, said: str) -> None:
    assert said in refused(write(FUSION.format(name="mine").replace("return [Mine]", code)))


@pytest.mark.parametrize("name", ["My_Fusion", "two words", "", 7, "1st"])
def test_a_name_that_no_one_can_type(write: Write, name: object) -> None:
    said = refused(write(FUSION.format(name=name)))
    assert re.search(r"^plugin '/.*/strange_plugin.py': fusion Mine needs a name of lower-case letters", said)


def test_a_space_that_makes_no_sense(write: Write) -> None:
    said = refused(write(FUSION.format(name="mine").replace("default=2", "default=99")))
    assert "fusion Mine: space['rank'] default 99 lies outside [1, 8]" in said


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("kind = 'smell'", "unknown kind of modality 'smell'"),
        ("reads = 'text'", "needs the attribute 'kind'"),
    ],
)
def test_an_encoder_of_no_kind(write: Write, code: str, said: str) -> None:
    plugin = FUSION.format(name="mine").replace("Fusion", "Encoder").replace("mmbench_fusions", "mmbench_encoders")
    assert said in refused(write(plugin.replace('"A sum."', code)))
