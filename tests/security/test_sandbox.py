"""What a confined process can and can't do, each in a process of its own: being confined is for good."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmbench.engine.executors import sandbox
from mmbench.errors import MMBenchError

needs_landlock = pytest.mark.skipif(sandbox.state().startswith("none"), reason=sandbox.state())
CONFINED = """
import os, sys
from pathlib import Path
from mmbench.engine.executors import sandbox

place = Path({place!r})
sandbox.confine([place / name for name in {hidden!r}], own=place / "cache")

def read(path):
    try:
        return Path(path).read_text()
    except OSError as error:
        return error.strerror

"""


def confined(place: Path, hidden: list[str], code: str, **environment: str) -> list[str]:
    """What `code` prints in a process that can't read those folders below `place`."""
    program = CONFINED.format(place=str(place), hidden=hidden) + code
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("hidden/secret", "hidden/inner/secret", "open/file", "cache/features/file"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@needs_landlock
def test_what_is_hidden_and_what_is_beside_it(place: Path) -> None:
    code = "print(read(place / 'hidden/secret'), read(place / 'open/file'), read('/etc/hostname') != '', sep='\\n')"
    assert confined(place, ["hidden"], code) == ["Permission denied", "open/file", "True"]


@needs_landlock
def test_one_hidden_within_another_opens_nothing(place: Path) -> None:
    """A plugin could make such a folder in one run, to read what stands beside it in the next."""
    code = "print(read(place / 'hidden/secret'), read(place / 'hidden/inner/secret'), sep='\\n')"
    assert confined(place, ["hidden", "hidden/inner"], code) == ["Permission denied"] * 2


@needs_landlock
def test_links_lead_to_nothing_more(place: Path) -> None:
    (place / "open/link").symlink_to(place / "hidden")
    (place / "all").symlink_to("/")
    code = "print(read(place / 'open/link/secret'), read(f'{place}/all{place}/hidden/secret'), sep='\\n')"
    assert confined(place, ["hidden"], code) == ["Permission denied"] * 2


@needs_landlock
def test_a_hidden_folder_that_is_a_link_is_hidden_where_it_lies(place: Path) -> None:
    (place / "truth").symlink_to(place / "hidden")
    assert confined(place, ["truth"], "print(read(place / 'hidden/secret'))") == ["Permission denied"]


@needs_landlock
def test_what_is_hidden_before_it_is_there(place: Path) -> None:
    code = "(place / 'later').mkdir(); (place / 'later/file').write_text('x'); print(read(place / 'later/file'))"
    assert confined(place, ["later"], code) == ["Permission denied"]


@needs_landlock
def test_temporary_files_and_the_cache_serve_as_before(place: Path) -> None:
    code = """
import subprocess, tempfile
with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "a").write_text("temporary")
    print(read(Path(folder) / "a"))
new = place / "cache" / "features" / "new"
(place / "cache" / "features" / "draft").mkdir()
(place / "cache" / "features" / "draft" / "a").write_text("feature")
(place / "cache" / "features" / "draft").rename(new)
(new / "a").rename(place / "cache" / "weights" / "a")
print(read(place / "cache" / "weights" / "a"))
print(subprocess.run([sys.executable, "-c", "print('child')"], capture_output=True, text=True).stdout.strip())
print(read("/proc/self/status")[:4])
"""
    (place / "tmp").mkdir()
    expected = ["temporary", "feature", "child", "Name"]
    assert confined(place, ["hidden"], code) == expected
    assert (
        confined(place, ["tmp/truth"], code.replace('"new"', '"n2"').replace("draft", "d2"), TMPDIR=str(place / "tmp"))[
            0
        ]
        == "temporary"
    )


@needs_landlock
def test_temporary_files_have_a_place_where_theirs_is_hidden(place: Path) -> None:
    code = """
import tempfile
with tempfile.NamedTemporaryFile("w+") as file:
    file.write("temporary")
    file.flush()
    print(read(file.name), file.name.startswith(str(place / "cache" / "scratch")))
"""
    (place / "tmp").mkdir()
    assert confined(place, ["tmp"], code, TMPDIR=str(place / "tmp")) == ["temporary True"]


@needs_landlock
def test_what_is_shown_of_a_hidden_folder(place: Path) -> None:
    """As of the cache: all that stands in it is hidden, but for what is named."""
    program = CONFINED.replace("for name in {hidden!r}]", "for name in {hidden!r}], shown=[place / 'hidden/inner']")
    code = "print(read(place / 'hidden/secret'), read(place / 'hidden/inner/secret'), sep='\\n')"
    made = program.format(place=str(place), hidden=["hidden"]) + code
    done = subprocess.run([sys.executable, "-c", made], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["Permission denied", "hidden/inner/secret"]


def test_switched_off_it_hides_nothing(place: Path) -> None:
    code = "print(read(place / 'hidden/secret')); print(sandbox.state())"
    found = confined(place, ["hidden"], code, MMBENCH_SANDBOX="off")
    assert found == ["hidden/secret", "none: switched off by MMBENCH_SANDBOX"]


def test_a_kernel_without_it_is_named(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setattr(sandbox, "_version", lambda: 1)
    assert sandbox.state() == "none: this kernel has no Landlock, or one before Linux 5.19"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert sandbox.state() == "none: darwin has no Landlock"
    sandbox.confine([place / "hidden"], own=place / "cache")  # does nothing


def test_a_misspelt_switch_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMBENCH_SANDBOX", "of")
    with pytest.raises(MMBenchError, match="it can be on or off"):
        sandbox.state()
