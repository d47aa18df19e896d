"""Every error that mmbench raises on purpose.

A message says what was wrong, where (file, table, key), and what to type. The command line
prints it on one line and exits with 2; anything else is a bug and keeps its traceback.
"""

import sysconfig
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class MMBenchError(Exception):
    """What the user can mend; shown as one line."""


class SuiteError(MMBenchError):
    """A suite file, or a name or value in it, is wrong."""


class PluginError(MMBenchError):
    """A plugin can't be loaded, or breaks the contract."""


class DataError(MMBenchError):
    """Data or weights are missing, altered, or not what they claim to be."""


class StoreError(MMBenchError):
    """A run folder is in use, damaged, or holds another suite."""


class TrainingError(MMBenchError):
    """One training went wrong by its own fault, such as a loss that became NaN."""


class UndefinedError(MMBenchError):
    """A metric has no value for this truth, whatever is predicted. Raised by a metric; says what the truth lacks."""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Say that `name` is no `kind`, with the nearest known name, or all of them if few."""
    names = sorted(set(known))
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        return f"unknown {kind} {name!r}: did you mean {near[0]!r}?"
    return f"unknown {kind} {name!r}: known are {', '.join(names) or 'none'}"


def told(error: BaseException) -> str:
    """The error's message in one line, which can be printed whatever a part's own class makes of it."""
    try:
        text = " ".join(str(error).split())
    except Exception as fault:
        text = f"its message can't be read: __str__ raises {type(fault).__name__}"
    return text.encode("utf-8", "backslashreplace").decode()  # halves of characters can't be stored


def blamed(error: BaseException) -> str:
    """One line of what a part's own code raised, and where: "KeyError: 'note' (wine.py, line 24)"."""
    text = told(error) or "no message"
    if isinstance(error, MMBenchError):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    foreign = {file for file in {frame.filename for frame in frames} if _is_foreign(file)}
    found = [frame for frame in frames if frame.filename in foreign]
    place = f" ({Path(found[-1].filename).name}, line {found[-1].lineno})" if found else ""
    return f"{type(error).__name__}: {text}"[:500] + place


def _is_foreign(file: str) -> bool:
    """Whether it is a plugin's file, installed or not: not Python's, no library's, not mmbench's own."""
    from importlib.metadata import entry_points  # 40 ms that nobody waits for until something fails

    path = Path(file)
    installed = [Path(place) for name in ("purelib", "platlib") if (place := sysconfig.get_path(name))]
    packages = {entry.module.partition(".")[0] for entry in entry_points(group="mmbench")} - {"mmbench"}
    if any(path.is_relative_to(place / name) for place in installed for p in packages for name in (p, f"{p}.py")):
        return True
    python = [Path(place) for name in ("stdlib", "platstdlib") if (place := sysconfig.get_path(name))]
    return not file.startswith("<") and not any(
        path.is_relative_to(place) for place in (Path(__file__).parent, *installed, *python)
    )
