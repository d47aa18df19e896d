"""What the commands write with: a console for stdout, one for stderr, one look for every table.

A table is drawn to the terminal's width; where stdout is a file or a pipe nothing is cut or wrapped.
"""

import json
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod
    from rich.table import Table

WIDE = 1000  # columns of an output that is no terminal
NARROW = 60  # columns that a table has at least: a terminal with fewer breaks its lines, which can still be read


def console(file: TextIO | None = None) -> "Console":
    """A console on `file`, stdout by default."""
    from rich.console import Console

    class Pipe(Console):
        def on_broken_pipe(self) -> NoReturn:
            raise BrokenPipeError  # `mmbench list | head`: cli.app ends quietly

    stream = file or sys.stdout
    made = Pipe(
        file=stream,
        width=None if stream.isatty() else WIDE,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )
    made.width = max(made.width, NARROW)
    return made


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> "Table":
    """A table of plain text; the columns named in `right` are numbers, those in `whole` are never broken."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        justify: JustifyMethod = "right" if column in right else "left"
        made.add_column(harmless(column), justify=justify, overflow="fold", no_wrap=column in whole)
    for row in rows:
        made.add_row(*(Text(harmless(cell)) for cell in row))
    return made


def show(*things: object) -> None:
    """Print tables and lines of text to stdout. Text is left as it is, however long."""
    write(console(), *things)


def fitted(text: str, width: int, *, hanging: int = 0) -> str:
    """Prose to be read on a terminal, broken between words. Indented lines, such as equations, stay lines of their own;
    `hanging` is the indent of continued lines. Text that fits is left as it is."""
    if all(len(line) <= width for line in text.splitlines()):
        return text
    joined = re.sub(r"(?<=\S)\n(?=\S)", " ", text)
    return "\n".join(
        "\n".join(
            textwrap.wrap(
                line,
                width,
                subsequent_indent=" " * (hanging or len(line) - len(line.lstrip())),
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
        for line in joined.split("\n")
    )


def write(out: "Console", *things: object) -> None:
    for thing in things:
        out.print(harmless(thing) if isinstance(thing, str) else thing, soft_wrap=isinstance(thing, str))


def show_json(value: Any) -> None:
    from mmbench.board.figures import shown_json

    out = console()
    write(out, readable_json(out, shown_json(json.dumps(value, indent=2, ensure_ascii=False))))


def readable_json(out: "Console", text: str) -> str:
    """The same JSON, escaped where `out` can't show all that is in it: one that is left out would be another value."""
    if out.encoding.lower().startswith("utf"):
        return text
    return "".join(c if c.isascii() else json.dumps(c)[1:-1] for c in text)


def warn(message: str, *, level: str = "warning") -> None:
    """One line on stderr, coloured where that is a terminal."""
    line = f"mmbench: {level}: {one_line(message)}"
    if sys.stderr is None:  # a program of the user's that has none
        return
    if sys.stderr.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb":
        line = f"\x1b[{31 if level == 'error' else 33}m{line}\x1b[0m"
    print(line, file=sys.stderr)


def one_line(message: str) -> str:
    """The message without line breaks, and without what a terminal would obey."""
    return harmless(" ".join(message.split()))


def harmless(text: str) -> str:
    """Lines of text without what a terminal would obey: names and reasons come from plugins, and files of strangers."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)


def size(count: float) -> str:
    """Bytes for people: "31.2 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds for people: "42 s", "3 min 05 s", "2 h 07 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
