"""From boards to the files of the site: a pure function of what the runs hold. `mmbench publish` calls `files`.

Pages carry their style and their one script (which sorts tables, and is not needed for reading) in themselves, under a
content security policy that names both by hash and allows nothing else. Jinja escapes all that is put in; `_shown`
writes out control characters and bidirectional marks before.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from mmbench.api.record import Record, Trial
from mmbench.api.suite import Suite
from mmbench.board import report
from mmbench.board.figures import plain
from mmbench.board.gate.boards import Board
from mmbench.board.gate.conditions import cost_conditions
from mmbench.board.site.boards import Row, View, board_view, cell_page
from mmbench.board.site.cells import cell_view
from mmbench.board.site.names import file_name

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"
MANIFEST = "manifest.json"
"""The list of a site's files with their SHA-256: it marks a folder as a site of ours."""
SITE = 1


def files(
    boards: Sequence[Board],
    *,
    run: str,
    trials: Mapping[Path, Mapping[str, Sequence[Trial]]],
    seals: Mapping[str, bytes],
    sources: Mapping[str, str],
) -> dict[str, bytes]:
    """The whole site, {path below its folder: content}.

    run: what the boards are of, such as "starter"; trials: {run folder: {cell: its trials}}; seals: {name: content} of
    files to offer beside the data; sources: {"fusion.gated": where it was published}.
    """
    environment = _environment()
    rows = [row for board in boards for row in board.rows]
    notes = list(dict.fromkeys(note for board in boards for note in board.notes))
    data = {
        "data/leaderboard.json": report.json(rows, run=run, notes=notes),
        "data/leaderboard.csv": report.csv(rows),
    }
    offered = {**{name: _bytes(content) for name, content in data.items()}, **_seal_files(seals)}
    shared = {"title": " + ".join(dict.fromkeys(_title(board) for board in boards)), "run": run}
    pages = {
        "index.html": environment.get_template("index.html").render(
            **shared,
            root="",
            suites=_suites(boards),
            boards=[board_view(board) for board in boards],
            downloads=[(name, len(content)) for name, content in offered.items()],
        ),
        "reading.html": environment.get_template("reading.html").render(**shared, root=""),
    }
    template = environment.get_template("cell.html")
    for board in boards:
        for path, view in _cells(board, trials, sources).items():
            pages[path] = template.render(**shared, root="../", **view)
    made = {**{path: _bytes(page) for path, page in pages.items()}, **offered}
    return {**made, MANIFEST: _manifest(made)}


def _bytes(text: str) -> bytes:
    """UTF-8; half a surrogate pair, which JSON allows, as its escape."""
    return text.encode("utf-8", "backslashreplace")


def _manifest(made: Mapping[str, bytes]) -> bytes:
    listed = {path: hashlib.sha256(content).hexdigest() for path, content in sorted(made.items())}
    return json.dumps({"mmbench_site": SITE, "files": listed}, indent=1).encode() + b"\n"


def _seal_files(seals: Mapping[str, bytes]) -> dict[str, bytes]:
    found = {}
    for name, content in seals.items():
        stem, dot, rest = name.partition("/")[0], ".", name.partition("/")[2]
        found["data/" + file_name(stem, suffix=f"{dot}{rest}")] = content
    return found


def _title(board: Board) -> str:
    return board.runs[0].suite.name


def _suites(boards: Sequence[Board]) -> list[View]:
    """What was asked, once for each suite."""
    found: dict[str, View] = {}
    for board in boards:
        suite = board.runs[0].suite
        own = [record for run in board.runs for record in run.records if record.status == "ok"]
        devices = list(dict.fromkeys(cost_conditions(record)["device"] for record in own))
        found.setdefault(repr(suite), _suite(suite, devices))
    return list(found.values())


def _suite(suite: Suite, devices: Sequence[str]) -> View:
    budget = suite.budget
    facts = [
        f"{budget.trials} trials a cell",
        f"up to {budget.epochs} epochs each",
        f"{budget.refit_seeds} refit seeds" + (f", {few} of the default" if (few := budget.default_seeds) else ""),
        f"seed {suite.seed}",
    ]
    facts += [f"costs on {device}" for device in devices]
    facts += [f"the first {suite.limit} rows of each split only"] if suite.limit else []
    return {"name": suite.name, "version": suite.version, "description": suite.description, "facts": facts}


def _cells(
    board: Board, trials: Mapping[Path, Mapping[str, Sequence[Trial]]], sources: Mapping[str, str]
) -> dict[str, View]:
    records: dict[tuple[str, str], tuple[Path, Record]] = {
        (record.task, record.contender): (run.path, record) for run in board.runs for record in run.records
    }
    by_task: dict[str, list[Row]] = {}
    for row in board.rows:
        by_task.setdefault(row["task"], []).append(row)
    found = {}
    for row in board.rows:
        if row["status"] == "missing":
            continue
        path, record = records[row["task"], row["contender"]]
        own = trials.get(path, {}).get(record.cell, ())
        found[cell_page(board, row)] = cell_view(row, record, own, task_rows=by_task[row["task"]], sources=sources)
    return found


def _environment() -> "jinja2.Environment":
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style, script = (Markup((TEMPLATES / name).read_text("utf-8")) for name in ("style.css", "sort.js"))
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}"
    environment.globals |= {
        "style": style,
        "script": script,
        "policy": f"{policy}; base-uri 'none'; form-action 'none'",
    }
    return environment


def _hash(text: str) -> str:
    """How a content security policy names an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _shown(value: Any) -> Any:
    """What stands in a page: text in which nothing acts; our own mark-up as it is."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else plain(value)
