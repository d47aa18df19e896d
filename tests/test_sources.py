"""What a part's code is: everything that changes its results changes its hash, and nothing else does."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mmbench import plugins, sources
from mmbench.engine import identity
from mmbench.errors import DataError
from mmbench.sources import Source

Change = Callable[[Path], object]
FILES = {
    "lab/parts.py": """
import json
from pathlib import Path

import mmbench as mb
from abcnet.layers import scale

WORDS = Path(__file__).with_name("words.txt")


class Mine(mb.Fusion):
    "A sum."
    name = "mine"

    def build(self, inputs, width, params):
        from torch import nn
        from typing_tools import late

        return nn.Identity()


@mb.hookimpl
def mmbench_fusions():
    return [Mine]
""",
    "lab/__init__.py": "",
    "lab/words.txt": "fever cough",
    "lab/other.txt": "nobody reads this",
    "lab/stranger.py": "x = 1",
    "abcnet/__init__.py": "",
    "abcnet/layers.py": "def scale(x):\n    return 2 * x\n",
    "typing_tools/__init__.py": "late = 1",
}


def write(root: Path) -> None:
    for name, text in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    write(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("lab", "abcnet", "typing_tools")]:
        del sys.modules[name]
        sources._imported.pop(name, None)


def look() -> Source:
    return identity.source(plugins.load(["lab.parts"]).fusions["mine"])


def edit(file: str, old: str, new: str) -> Change:
    def change(root: Path) -> None:
        path = root / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


@pytest.mark.parametrize(
    "change",
    [
        edit("lab/parts.py", "nn.Identity()", "nn.ReLU()"),
        edit("abcnet/layers.py", "2 * x", "3 * x"),
        edit("typing_tools/__init__.py", "late = 1", "late = 2"),
        edit("lab/words.txt", "fever", "calm"),
    ],
    ids=["its own module", "a package whose name begins as Python's", "a module imported late", "a file it reads"],
)
def test_what_changes_a_result_changes_the_hash(lab: Path, change: Change) -> None:
    before = look()
    change(lab)
    assert look().hash != before.hash


@pytest.mark.parametrize(
    "change",
    [
        edit("lab/parts.py", "A sum.", "The sum of all."),
        edit("lab/parts.py", "import json", "import json  # for later\n\n"),
        edit("lab/parts.py", "return [Mine]", "return [\n        Mine,\n    ]"),
        edit("lab/stranger.py", "x = 1", "x = 2"),
        edit("lab/other.txt", "nobody", "somebody"),
    ],
    ids=["a docstring", "a comment", "the layout", "a module it does not import", "a file it does not name"],
)
def test_what_changes_no_result_does_not(lab: Path, change: Change) -> None:
    before = look()
    change(lab)
    assert look().hash == before.hash


def test_libraries_count_by_their_public_version(lab: Path) -> None:
    found = look().libraries
    assert set(found) == {"torch"}
    assert "+" not in found["torch"]


def test_code_that_changes_while_a_process_lives_is_imported_anew(lab: Path) -> None:
    from importlib import import_module

    plugins.load(["lab.parts"])
    assert import_module("abcnet.layers").scale(1) == 2
    edit("abcnet/layers.py", "2 * x", "5 * x")(lab)
    part = plugins.load(["lab.parts"]).fusions["mine"]
    assert import_module(type(part).__module__).scale(1) == 5, "also what a part has taken out of a changed module"


def test_code_that_changes_in_a_run_stops_it(lab: Path) -> None:
    held = sources.held(look().files)
    sources.hold(held)
    edit("lab/parts.py", "A sum.", "Another text.")(lab)
    sources.hold(held)
    edit("lab/parts.py", "nn.Identity()", "nn.ReLU()")(lab)
    with pytest.raises(DataError, match=r"parts\.py has changed while the run was at work; run again"):
        sources.hold(held)


def test_the_hash_is_the_same_wherever_the_code_lies_and_whatever_the_hash_seed(tmp_path: Path) -> None:
    program = "from tests.test_sources import look; print(look().hash)"
    found = set()
    for seed, name in enumerate(("here", "there")):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
        path = os.pathsep.join([str(tmp_path / name), str(Path(__file__).parents[1])])
        environ = os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": str(seed)}
        done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1


def test_links_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "disk" / "table.csv").write_text("1")
    (tmp_path / "data" / "rows").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "round").symlink_to(tmp_path / "data")
    assert list(sources.walk(tmp_path / "data")) == [tmp_path / "data/rows/table.csv"]
    assert set(sources.reached(tmp_path / "data")) == {tmp_path / "data", tmp_path / "disk"}
    with pytest.raises(DataError, match="absent does not exist"):
        list(sources.walk(tmp_path / "absent"))


def test_a_large_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    taken: list[object] = []
    whole = hashlib.file_digest

    def noting(*given: Any) -> Any:
        taken.append(given)
        return whole(*given)

    monkeypatch.setattr(hashlib, "file_digest", noting)
    file = tmp_path / "large.bin"
    file.write_bytes(b"1")
    first = [sources.file_hash(file) for _ in range(3)]
    assert len(taken) == 1
    file.write_bytes(b"2")
    assert sources.file_hash(file) not in first
