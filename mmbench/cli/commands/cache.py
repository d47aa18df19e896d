"""`mmbench cache`: list what the cache holds, and delete features and datasets."""

import re
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mmbench.cli import options, terminal
from mmbench.errors import MMBenchError

if TYPE_CHECKING:
    from mmbench.engine.data.shelf import Entry


class Action(StrEnum):
    """What to do with the cache."""

    ls = "ls"
    clean = "clean"


SECONDS = {"h": 3600, "d": 86_400, "w": 604_800}


def cache(
    action: Annotated[Action, typer.Argument(metavar="ls|clean", help="List what there is, or delete.")] = Action.ls,
    features: Annotated[bool, typer.Option("--features", help="clean: features, which a run computes again.")] = False,
    datasets: Annotated[bool, typer.Option("--datasets", help="clean: datasets, which a run builds again.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="clean: features and datasets.")] = False,
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Only what was last used so long ago: 12h, 30d, 8w.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="clean: delete without asking.")] = False,
    form: Annotated[options.Form, typer.Option("--format", metavar="table|json", help="ls: how to print.")] = (
        options.Form.table
    ),
) -> None:
    """List what the cache keeps, or delete some of it. What a run is using stays.

    Features go by themselves, the least recently used first, where they take more than 20 GB or half of what the disk
    has for them: MMBENCH_CACHE_LIMIT sets another limit. Datasets never do.

    \b
    Examples:
      mmbench cache ls
      mmbench cache clean --features --older-than 30d
      mmbench cache clean --all --yes
    """
    from mmbench.api.carrier import cache_folder
    from mmbench.engine.data import shelf

    before = time.time() - _age(older_than)
    found = [entry for entry in shelf.entries(cache_folder()) if entry.used <= before]
    if action is Action.ls:
        _list(found, form)
        return
    kinds = {"features"} if features or everything else set()
    kinds |= {"dataset"} if datasets or everything else set()
    if not kinds:
        raise MMBenchError("say what to clean: --features, --datasets or --all")
    _clean([entry for entry in found if entry.kind in kinds], yes=yes)


def _list(found: "Sequence[Entry]", form: options.Form) -> None:
    from mmbench.api.carrier import cache_folder
    from mmbench.engine.data import shelf

    latest = found[::-1]
    if form is options.Form.json:
        terminal.show_json(
            [
                {
                    "kind": entry.kind,
                    "what": entry.what,
                    "dataset": entry.dataset,
                    "encoder": entry.encoder,
                    "bytes": entry.size,
                    "used": _date(entry.used),
                    "folder": str(entry.folder),
                }
                for entry in latest
            ]
        )
        return
    terminal.show(_table(latest))
    kept = sum(entry.size for entry in found if entry.kind == "features")
    most = shelf.limit(cache_folder(), held=kept)
    total = terminal.size(sum(entry.size for entry in found))
    terminal.show(f"\n{cache_folder()}: {total}; features {terminal.size(kept)} of at most {terminal.size(most)}")


def _table(found: "Sequence[Entry]") -> object:
    rows = [(entry.kind, entry.what, terminal.size(entry.size), _date(entry.used)) for entry in found]
    return terminal.table(["kind", "what", "size", "last used"], rows, right=["size"])


def _clean(chosen: "Sequence[Entry]", *, yes: bool) -> None:
    from mmbench.engine.data import shelf

    if not chosen:
        terminal.show("nothing to delete")
        return
    total = terminal.size(sum(entry.size for entry in chosen))
    if not yes:
        terminal.show(_table(chosen))
        if not sys.stdin.isatty():
            terminal.show(f"\nnothing was deleted; --yes deletes these {len(chosen)}, {total}")
            return
        if not typer.confirm(f"Delete these {len(chosen)}, {total}?"):
            return
    gone = [entry for entry in chosen if shelf.remove(entry)]
    terminal.show(f"deleted {len(gone)}, {terminal.size(sum(entry.size for entry in gone))}")
    for entry in chosen:
        if entry not in gone:
            terminal.show(f"in use, and kept: {entry.what}")


def _age(text: str | None) -> float:
    """Seconds of "30d"."""
    if text is None:
        return 0.0
    found = re.fullmatch(r"(\d{1,6})([hdw])", text)
    if not found:
        raise MMBenchError(f"--older-than can't be {text!r}: give hours, days or weeks, such as 12h, 30d, 8w")
    return float(found[1]) * SECONDS[found[2]]


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
