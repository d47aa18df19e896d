"""What mmbench costs: python -m benchmarks [NAME...] [--quick] [--json FILE] [--markdown [JSON]]

Runs the benchmarks named, or all, prints their figures as a table and keeps them as JSON. `--markdown` prints the
table of benchmarks/notebook/speed.md, of this run or of a JSON file that an earlier one left.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Figure, like_a_worker, machine

NAMES = ("loops", "flops", "features", "cohort", "search", "quality", "costs", "growth")
Entry = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all if absent")
    parser.add_argument("--quick", action="store_true", help="small and few rounds: three minutes in all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures here")
    parser.add_argument(
        "--markdown", nargs="?", const="", metavar="JSON", help="print the notebook's table, of this run or of JSON"
    )
    told = parser.parse_args(arguments)
    if wrong := [name for name in told.names if name not in NAMES]:
        parser.error(f"no benchmark {wrong[0]!r}: choose from {', '.join(NAMES)}")
    if told.markdown:
        print(markdown(json.loads(Path(told.markdown).read_text())))
        return 0
    found = run(
        told.names or NAMES,
        quick=told.quick,
        console=Console(stderr=told.markdown is not None, width=150 if not sys.stdout.isatty() else None),
    )
    if told.json:
        told.json.write_text(json.dumps(found, indent=1) + "\n")
    if told.markdown is not None:
        print(markdown(found))
    return 1 if found["failed"] else 0


def run(names: Iterable[str], *, quick: bool, console: Console) -> dict[str, Any]:
    """Each benchmark in turn, a figure printed as soon as it is there. One that fails is reported; the rest run."""
    like_a_worker()
    found: dict[str, Any] = {"quick": quick, "machine": machine(), "benchmarks": {}, "failed": {}}
    for name in names:
        started = time.perf_counter()
        figures: list[Entry] = []
        try:
            for figure in _figures(name, quick=quick):
                figures.append(entry(figure))
                console.print(f"[dim]{name}:[/] {figure.name}  {_value(figures[-1])}", highlight=False)
        except Exception as error:  # hours of other figures must not be lost with it
            console.print_exception()
            found["failed"][name] = f"{type(error).__name__}: {error}"
        found["benchmarks"][name] = figures
        console.print(f"[dim]{name}: {time.perf_counter() - started:.0f} s[/]")
    found["machine"]["load after"] = machine()["load"]
    console.print(_table(found))
    return found


def _figures(name: str, *, quick: bool) -> Iterable[Figure]:
    module: Any = import_module("benchmarks.boards.costs" if name == "costs" else f"benchmarks.{name}")
    if name == "growth":
        return cast(Iterable[Figure], module.figures(largest=10**3 if quick else 10**5))
    return cast(Iterable[Figure], module.measure(quick=quick))


def entry(figure: Figure) -> dict[str, Any]:
    """A figure as JSON holds it."""
    return {**asdict(figure), "reached": figure.reached}


def markdown(found: Mapping[str, Any]) -> str:
    """The table of benchmarks/notebook/speed.md: what was measured, and nothing else."""
    facts = found["machine"]
    libraries = ", ".join(f"{name} {version}" for name, version in facts["libraries"].items())
    lines = [
        f"Measured {facts['time']} at commit {str(facts['commit'])[:10]}{' with changes' if facts['changed'] else ''}, "
        f"{facts['processor']}, {facts['cores']} cores, load {facts['load'][0]} before and {facts['load after'][0]} "
        f"after; Python {facts['python']}, {libraries}{'; quick' if found['quick'] else ''}.",
        "",
        "| what | by CPU time | by wall time | aim |",
        "|---|---|---|---|",
    ]
    for figures in found["benchmarks"].values():
        lines += [f"| {f['name']} | {_value(f)} | {_value(f, 'wall')} | {_claim(f)} |" for f in figures]
    return "\n".join(lines)


def _table(found: Mapping[str, Any]) -> Table:
    table = Table(title="median (quartiles) of paired rounds", title_justify="left")
    for heading in ("what", "by CPU time", "by wall time", "n", "aim"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for figures in found["benchmarks"].values():
        for figure in figures:
            cells = (_value(figure), _value(figure, "wall"), str(figure["value"]["n"]), _claim(figure))
            table.add_row(figure["name"], *cells, style=None if figure["reached"] is not False else "red")
        table.add_section()
    return table


def _value(figure: Entry, field: str = "value") -> str:
    spread = figure[field]
    if spread is None:
        return ""
    unit = figure["unit"]
    after = unit if unit in ("x", "%") else f" {unit}"
    median, low, high = (
        f"{spread[key]:.{3 if abs(spread['median']) < 2 else 1}f}" for key in ("median", "low", "high")
    )
    return f"{median}{after} ({low} to {high})"


def _claim(figure: Entry) -> str:
    if figure["claim"] is None:
        return ""
    return f"{figure['claim']}: {'reached' if figure['reached'] else 'not reached'}"


if __name__ == "__main__":
    sys.exit(main())
