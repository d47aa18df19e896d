"""What a confined process can and can't do, each in a process of its own: being confined is for good."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmbench
from mmbench.engine.executors import sandbox
from mmbench.engine.executors.worker import Setting, _code
from mmbench.errors import MMBenchError
from mmbench.plugins import Needed

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
    """Nobody confined can make it; what others make there later is hidden."""
    code = """
try:
    (place / "later").mkdir()
except OSError as error:
    print(error.strerror)
print(flush=True)
input()
print(read(place / "later/file"))
"""
    program = CONFINED.format(place=str(place), hidden=["later"]) + code
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "Permission denied\n"
        (place / "later").mkdir()
        (place / "later/file").write_text("x")
        assert process.communicate("\n")[0].strip() == "Permission denied"


LINKS = {
    "a link in a place that every worker is shown": "(cache / 'home').symlink_to(place / 'hidden')",
    "such a place moved, and a link in its stead": (
        "(cache / 'scratch').rename(cache / 's'); (cache / 'scratch').symlink_to(place / 'hidden')"
    ),
    "such a name for what is hidden": "(cache / 'truth').rename(cache / 'home')",
    "a hard link": "os.link(cache / 'truth/secret', cache / 'truth/other')",
    "another content": "(cache / 'truth/secret').write_text('mine')",
    "no content": "os.truncate(cache / 'truth/secret', 0)",
    "gone": "(cache / 'truth/secret').unlink()",
    "another content of what is shown": "(place / 'hidden/inner/secret').write_text('mine')",
    "a file more": "(cache / 'truth/new').write_text('mine')",
}


@needs_landlock
@pytest.mark.parametrize("deed", LINKS.values(), ids=LINKS)
def test_what_is_hidden_can_not_be_changed_or_renamed(place: Path, deed: str) -> None:
    """What one process does to the cache another would be shown: each is confined by the names that it finds."""
    (place / "cache/truth").mkdir()
    (place / "cache/truth/secret").write_text("labels")
    program = CONFINED.replace('own=place / "cache")', "own=place / \"cache\", shown=[place / 'hidden/inner'])")
    code = f"""
cache = place / "cache"
print(read(place / "hidden/inner/secret"))
try:
    {deed}
except OSError as error:
    print(error.strerror)
"""
    made = program.format(place=str(place), hidden=["hidden", "cache"]) + code
    done = subprocess.run([sys.executable, "-c", made], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["hidden/inner/secret", "Permission denied"]
    assert (place / "cache/truth/secret").read_text() == "labels"


@needs_landlock
def test_a_link_to_what_is_hidden_is_not_shown(place: Path) -> None:
    """Whoever has put it there, such as a data set as it was loaded."""
    (place / "cache/home").symlink_to(place / "hidden")
    with pytest.raises(MMBenchError, match=r"is a link to .*, which is hidden from workers: remove the link"):
        sandbox.confine([place / "cache", place / "hidden"], own=place / "cache")


@needs_landlock
def test_a_folder_of_the_cache_may_lie_on_another_disk(place: Path) -> None:
    (place / "cache/features").rename(place / "open/features")
    (place / "cache/features").symlink_to(place / "open/features")
    code = "(place / 'cache/features/new').write_text('new'); print(read(place / 'cache/features/file'))"
    assert confined(place, ["cache", "hidden"], code) == ["cache/features/file"]


@needs_landlock
@pytest.mark.skipif(sandbox._version() < 6, reason="before Linux 6.12 nobody can be kept from it")
def test_no_other_process_can_be_ended(place: Path) -> None:
    """A rival's worker that is killed again and again is charged for it."""
    code = """
import signal
try:
    os.kill(int(os.environ["RIVAL"]), signal.SIGKILL)
except OSError as error:
    print(error.strerror)
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
child.kill()
print(child.wait())
"""
    rival = CONFINED.format(place=str(place), hidden=["hidden"]) + "print(flush=True); input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", rival], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = confined(place, ["hidden"], "import subprocess\n" + code, RIVAL=str(process.pid))
        assert found == ["Operation not permitted", "-9"]
        process.communicate("\n")
    assert process.returncode == 0


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


def test_code_that_lies_in_the_cache_can_be_imported() -> None:
    """A cache may be the checkout that mmbench and its plugins are installed from, which also holds results."""
    root = Path(mmbench.__file__).resolve().parents[1]
    found = _code(Setting(root, "cpu", Needed((), ()), hidden=(root / "results", root / "mmbench" / "truth")))
    assert root / "plugins" / "mmbench-fusion" / "mmbench_fusion" in found
    assert root / "mmbench" not in found, "something hidden lies in it"
    assert root / "mmbench" in _code(Setting(root, "cpu", Needed((), ()), hidden=(root / "results",)))
    assert not any(path in (root, root / "results", *root.parents) for path in found)
    assert not _code(Setting(Path("/nowhere"), "cpu", Needed((), ())))
