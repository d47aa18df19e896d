"""Machines unlike the developer's: no home, no locks, long paths, few files, other users, threads; each for real."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mmbench.errors import DataError

TESTS = Path(__file__).parents[1]
RUN = ["run", str(TESTS / "toy.toml"), "--plugin", str(TESTS / "toys.py"), "--contender", "concat", "--trials", "1"]
STRANGER = 12345
NO_FLOCK = """
#include <errno.h>
#include <stdlib.h>
int flock(int file, int operation) { errno = atoi(getenv("FLOCK_ERRNO")); return -1; }
"""
API = """
import sys, mmbench
options = dict(plugins=[{toys!r}], contenders=["concat"], trials=1, workers=1, results={results!r})
run = lambda name: mmbench.run({suite!r}, name=name, **options)
"""


def mmbench(*words: str, before: tuple[str, ...] = (), **options: Any) -> "subprocess.CompletedProcess[str]":
    command = [*before, sys.executable, "-m", "mmbench", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def refused(done: "subprocess.CompletedProcess[str]", *expected: str) -> None:
    """Exit code 2, and one line that says what to do."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("mmbench: error: "), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for words in expected:
        assert words in done.stderr


def script(tmp_path: Path, code: str) -> "subprocess.CompletedProcess[str]":
    head = API.format(suite=str(TESTS / "toy.toml"), toys=str(TESTS / "toys.py"), results=str(tmp_path / "results"))
    (tmp_path / "script.py").write_text(head + code)
    command = [sys.executable, str(tmp_path / "script.py")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def as_stranger(tmp_path: Path) -> tuple[str, ...]:
    """Begins a command as a user of whom nobody has heard; who may yet read Python where that lies below /root."""
    tmp_path.chmod(0o777)
    user = ("setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups")
    reading = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    if not shutil.which("setpriv") or subprocess.run([*user, *reading, "true"], check=False).returncode:
        pytest.skip("needs setpriv, and leave to become another user")
    return (*user, *reading)


@pytest.mark.slow
def test_nobody_knows_of_a_home(tmp_path: Path, as_stranger: tuple[str, ...]) -> None:
    env = {name: value for name, value in os.environ.items() if name not in ("HOME", "USER", "LOGNAME")}
    with_cache = env | {"MMBENCH_CACHE": str(tmp_path / "cache")}
    words = [*RUN, "--results", str(tmp_path / "results"), "--quiet"]
    done = mmbench(*words, before=as_stranger, env=with_cache, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "~").exists()
    without = {name: value for name, value in env.items() if name not in ("MMBENCH_CACHE", "XDG_CACHE_HOME")}
    for number, lost in enumerate((without, without | {"MMBENCH_CACHE": "~/cache"})):
        other = [*RUN, "--results", str(tmp_path / f"other{number}"), "--quiet"]
        refused(mmbench(*other, before=as_stranger, env=lost, cwd=tmp_path), "HOME is not set", "MMBENCH_CACHE")
        told = mmbench("doctor", "--offline", before=as_stranger, env=lost, cwd=tmp_path)
        assert told.returncode == 1
        assert "broken: cache: set MMBENCH_CACHE to a folder by its whole path" in told.stdout


@pytest.mark.slow
def test_what_is_in_the_cache_can_be_read_by_others(tmp_path: Path, as_stranger: tuple[str, ...]) -> None:
    from mmbench.api import files

    cache = tmp_path / "cache"
    done = mmbench(*RUN, "--results", str(tmp_path / "results"), env=os.environ | {"MMBENCH_CACHE": str(cache)})
    assert done.returncode == 0, done.stderr
    closed = [path for path in cache.rglob("*") if not path.stat().st_mode & 0o004]
    assert not closed, "by the umask they are everybody's to read"
    files.check_readable(cache / "tables", cache / "truth")
    (table,) = (cache / "tables").glob("toy-*/facts.json")
    table.chmod(0o600)
    code = "import os, sys; from pathlib import Path; from mmbench.api.files import check_readable; os.setuid(12345)\n"
    code += "check_readable(Path(sys.argv[1]))"
    told = subprocess.run([sys.executable, "-c", code, str(table)], capture_output=True, text=True, check=False)
    assert f"DataError: {table} can't be read, as it is " in told.stderr, told.stderr
    assert "`chmod -R a+rX`" in told.stderr


def test_a_folder_that_is_gone_is_no_file_of_another(tmp_path: Path) -> None:
    from mmbench.api import files

    with pytest.raises(DataError, match="can't be read"):
        files.check_readable(tmp_path / "none")


@pytest.fixture(scope="module")
def no_locks(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library that takes the place of the system's flock, as no file system without locks is at hand."""
    if sys.platform != "linux" or not shutil.which("gcc"):
        pytest.skip("needs Linux and gcc")
    place = tmp_path_factory.mktemp("no-locks")
    (place / "no_flock.c").write_text(NO_FLOCK)
    made = ["gcc", "-shared", "-fPIC", "-o", str(place / "no_flock.so"), str(place / "no_flock.c")]
    subprocess.run(made, check=True)
    return str(place / "no_flock.so")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], ids=errno.errorcode.get)
def test_a_file_system_without_locks(tmp_path: Path, no_locks: str, number: int) -> None:
    env = os.environ | {"LD_PRELOAD": no_locks, "FLOCK_ERRNO": str(number), "MMBENCH_CACHE": str(tmp_path / "cache")}
    told = "its file system has no locks for files: name a folder with --results on another disk"
    refused(mmbench(*RUN, "--results", str(tmp_path / "results"), env=env), told)
    if number == errno.ENOLCK:
        found = mmbench("doctor", "--offline", "--results", str(tmp_path), env=env)
        assert found.returncode == 1
        assert "broken: cache locks: set MMBENCH_CACHE to a folder on another disk" in found.stdout


@pytest.mark.slow
def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    place = tmp_path / ("x" * 120)
    place.mkdir()
    done = mmbench(*RUN, "--results", str(tmp_path / "results"), env=os.environ | {"TMPDIR": str(place)})
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limits")
def test_few_files(tmp_path: Path) -> None:
    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))

    done = mmbench(*RUN, "--results", str(tmp_path), preexec_fn=limit)
    refused(done, "too few files may be open at once: type `ulimit -n 1024`")
    found = mmbench("doctor", "--offline", preexec_fn=limit)
    assert found.returncode == 1
    assert "broken: open files: type: ulimit -n 1024" in found.stdout


@pytest.mark.parametrize("most", [1, pytest.param(7, marks=pytest.mark.slow)])
def test_few_processes(tmp_path: Path, as_stranger: tuple[str, ...], most: int) -> None:
    """Threads count. With one, no worker begins; with a few more, something that a worker needs does not. Root has no
    such limit."""

    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))

    env = os.environ | {"MMBENCH_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    words = [*RUN, "--results", str(tmp_path / "results"), "--quiet"]
    done = mmbench(*words, before=as_stranger, env=env, cwd=tmp_path, preexec_fn=limit)
    if most == 1:
        refused(done, "no worker can be started", "raise `ulimit -u`, or give fewer --workers")
    else:
        assert done.returncode in (0, 2), "no contender is charged: " + done.stdout
        assert done.returncode == 0 or "processes" in done.stderr.splitlines()[-1], done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a folder that is in use can't be removed")
def test_the_current_folder_is_gone(tmp_path: Path) -> None:
    def leave() -> None:
        os.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()

    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from mmbench.cli.app import main; main()", *RUN],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=leave,
    )
    refused(done, "the current folder is gone: cd to one that is there")


@pytest.mark.slow
def test_two_runs_in_two_threads_and_one_in_a_loop(tmp_path: Path) -> None:
    code = """
import asyncio, os
from concurrent.futures import ThreadPoolExecutor
environ, main, path = dict(os.environ), sys.modules["__main__"], list(sys.path)
with ThreadPoolExecutor(2) as pool:
    one, two = pool.map(run, ["one", "two"])
assert (dict(os.environ), sys.modules["__main__"], sys.path) == (environ, main, path)
async def third():
    return run("three")
three = asyncio.run(third())
scores = [list(r.leaderboard()["metrics.accuracy.mean"]) for r in (one, two, three)]
assert scores[0] == scores[1] == scores[2], scores
print("alike")
"""
    done = script(tmp_path, code)
    assert done.stdout == "alike\n", done.stderr


def test_a_daemonic_process_is_refused(tmp_path: Path) -> None:
    code = """
import multiprocessing
from mmbench.errors import MMBenchError
def work():
    try:
        run("one")
    except MMBenchError as error:
        print(error, flush=True)
process = multiprocessing.get_context("fork").Process(target=work, daemon=True)
process.start()
process.join()
"""
    done = script(tmp_path, code)
    assert done.stdout == "a daemonic process can't start workers: start it with daemon=False\n", done.stderr
