"""How cost grows: with trials, records, contenders, tasks and rows; each point in a process of its own.

`python -m benchmarks.growth` prints a table and writes it as JSON; `figures` gives the same to `python -m benchmarks`.
The exponent is the slope of log cost over log size, fitted where a fixed cost no longer hides it. Memory is the
process's own (RssAnon): pages of files that are mapped belong to the system, which takes them back when it needs them.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import mmbench as mb
from benchmarks.measure import Figure, Spread

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "results" / "published" / "starter"
"""A real run, whose rows are copied."""
FLOOR = 0.05  # seconds: a point that costs less is mostly noise


@dataclass(frozen=True)
class Case:
    """One thing that grows."""

    name: str
    make: Callable[[int, Path], None]
    """make(n, folder) prepares it, unmeasured, in a process of its own."""
    run: Callable[[int, Path], float | None]
    """run(n, folder) is measured; what it returns stands instead of its CPU time."""
    sizes: Sequence[int]
    claim: str | None = None
    """For the largest size, in words."""


def _lines(path: Path, rows: Iterator[tuple[str, bytes]]) -> None:
    """A chained file, as the store writes it but without waiting for the disk after each line."""
    from mmbench.store.chain import FIRST, signed

    previous = FIRST
    with path.open("wb") as file:
        for number, (kind, row) in enumerate(rows):
            line, previous = signed(number, previous, kind, row)
            file.write(line)


def _run_folder(folder: Path, *, tasks: int = 1) -> None:
    from mmbench.api.suite import Budget, ContenderSpec, Suite, TaskSpec
    from mmbench.store.writing import Store

    specs = tuple(TaskSpec(f"t{number}", "digits", "accuracy") for number in range(tasks))
    suite = Suite("growth", 1, Budget(), specs, (ContenderSpec("concat"),))
    Store.open(folder, suite).close()


def make_trials(n: int, folder: Path) -> None:
    """Trials of a real run, a hundred for each cell."""
    from mmbench.api.record import to_json
    from mmbench.store.chain import strict_json
    from mmbench.store.reading import history

    _run_folder(folder)
    models = [trial for cell in history(MODEL).values() for trial in cell.trials][:200]
    raw = [strict_json({**to_json(trial), "cell": "CELL", "number": "NUMBER"}).encode() for trial in models]
    cells = ((b'"%020x"' % (i // 100), b"%d" % (i % 100)) for i in range(n))
    rows = (raw[i % len(raw)].replace(b'"CELL"', c).replace(b'"NUMBER"', k) for i, (c, k) in enumerate(cells))
    _lines(folder / "trials.jsonl", (("trial", row) for row in rows))


def resume(n: int, folder: Path) -> None:
    """What a run does of its own that goes on: see which cells are done, open the writer, read cell after cell what is
    stored of it."""
    from mmbench.store.reading import finished, suite_of
    from mmbench.store.writing import Store

    suite = suite_of(folder)
    if suite is None or finished(folder):
        raise SystemExit("no such run")
    with Store.open(folder, suite) as store:
        store.history.begun(list(store.history))
        if sum(len(cell.trials) for cell in store.history.values()) != n:
            raise SystemExit("trials are missing")


def append(n: int, folder: Path) -> float:
    """Seconds for one more trial, the disk's own time included, in a run that has n."""
    from mmbench.store.reading import history, suite_of
    from mmbench.store.writing import Store

    suite, model = suite_of(folder), history(MODEL)
    if suite is None:
        raise SystemExit("no such run")
    trial = next(cell.trials[0] for cell in model.values() if cell.trials)
    with Store.open(folder, suite) as store:
        started = time.perf_counter()
        for number in range(100, 300):
            store.add_trial(replace(trial, cell="f" * 20, number=number))
        return (time.perf_counter() - started) / 200


def _records(n: int, folder: Path, *, distinct: bool) -> None:
    """n records without stored predictions: of as many cells, or of 46 cells in a run that lived long, so that only the
    last ones count."""
    from mmbench.store import rows
    from mmbench.store.chain import strict_json
    from mmbench.store.reading import read_run

    side = math.isqrt(n)
    _run_folder(folder, tasks=-(-n // side) if distinct else 1)
    said = rows.Said()
    raw: list[bytes] = []
    shared: list[bytes] = []
    for model in [record for record in read_run(MODEL).records if record.status == "ok"]:
        refits = [replace(refit, predictions=None, cell="CELL") for refit in model.refits]
        record = replace(model, cell="CELL", task="TASK", contender="NAME", refits=refits)
        for kind, row in said.shorten(record):
            (raw if kind == "record" else shared).append(strict_json(row).encode())

    def record_rows() -> Iterator[tuple[str, bytes]]:
        yield from (("said", row) for row in shared)
        for i in range(n):
            place = i if distinct else i % len(raw)
            copy = raw[i % len(raw)].replace(b'"CELL"', b'"%020x"' % place)
            copy = copy.replace(b'"TASK"', b'"t%d"' % (place // side if distinct else 0), 1)
            yield "record", copy.replace(b'"NAME"', b'"c%d"' % (place % side if distinct else place), 1)

    _lines(folder / "records.jsonl", record_rows())


def leaderboard(n: int, folder: Path) -> None:
    """Read the run, check every line, rank."""
    from mmbench import plugins
    from mmbench.board import rank
    from mmbench.store.reading import read_run

    run = read_run(folder)
    if not rank.leaderboard(run, plugins.load().metrics):
        raise SystemExit("no rows")


def nothing(n: int, folder: Path) -> None:
    """Needs no preparation."""


def _plan(n: int, folder: Path, *, of: str) -> None:
    """Resolve a suite of n tasks or contenders."""
    from mmbench import plugins
    from mmbench.api.suite import Budget, ContenderSpec, Suite, TaskSpec
    from mmbench.engine import plan

    suite = Suite(
        "growth",
        1,
        Budget(),
        tuple(TaskSpec(f"t{i}", "uci_mfeat", "accuracy") for i in range(n if of == "tasks" else 1)),
        tuple(ContenderSpec(f"c{i}", fusion=("concat",)) for i in range(n if of == "contenders" else 1)),
    )
    if len(plan.make(suite, plugins.load()).cells) != n:
        raise SystemExit("cells are missing")


class Wide(mb.Dataset):
    """Rows of 512 numbers, ROWS of them."""

    name = "wide"
    columns = {"left": "tabular", "right": "tabular"}
    target: ClassVar[Any] = mb.Label("label")
    licence = "CC0-1.0"
    version = os.environ.get("ROWS", "1000")

    def load(self, cache: Path) -> Any:
        import numpy as np
        from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

        numbers = List(Value("float32"))
        form = Features(left=numbers, right=numbers, label=ClassLabel(names=["a", "b"]))

        def rows(n: int) -> Iterator[dict[str, Any]]:
            draw = np.random.default_rng(0)
            for number in range(n):
                values = draw.random(1024, np.float32)
                yield {"left": values[:512], "right": values[512:], "label": number % 2}

        sizes = {"train": int(self.version), "validation": 200, "test": 200}
        return DatasetDict(
            {
                name: Dataset.from_generator(rows, features=form, gen_kwargs={"n": n}, cache_dir=str(cache / name))
                for name, n in sizes.items()
            }
        )


class Widened(mb.Encoder):
    """The row as it is, three times as long: nothing is learnt from the whole column."""

    name = "widened"
    kind = "tabular"

    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> dict[str, Any]:
        import numpy as np

        return {"x": np.tile(np.stack(column), 3)}

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> Any:
        from torch import nn

        class First(nn.Module):
            def forward(self, arrays: Mapping[str, Any]) -> Any:
                return arrays["x"]

        return First()


@mb.hookimpl
def mmbench_datasets() -> list[type[mb.Dataset]]:
    return [Wide]


@mb.hookimpl
def mmbench_encoders() -> list[type[mb.Encoder]]:
    return [Widened]


def make_rows(n: int, folder: Path) -> None:
    from mmbench import plugins
    from mmbench.engine.data.tables import materialise

    materialise(plugins.load([__file__]).datasets["wide"], folder)


def train_rows(n: int, folder: Path) -> None:
    """Prepare both views and train one epoch of a small model, from the files."""
    import torch

    from mmbench import plugins
    from mmbench.api.suite import Budget, ContenderSpec, Suite, TaskSpec
    from mmbench.engine import plan
    from mmbench.engine.jobs.attempt import Attempt, Group
    from mmbench.engine.jobs.workspace import Workspace
    from mmbench.engine.space import default_params

    torch.set_num_threads(1)
    catalog = plugins.load([__file__])
    encoders = {"left": ("widened",), "right": ("widened",)}
    suite = Suite(
        "growth",
        1,
        Budget(epochs=1, trial_seconds=3600),
        (TaskSpec("wide", "wide", "accuracy", encoders=encoders),),
        (ContenderSpec("concat", fusion=("concat",)),),
    )
    cell = plan.make(suite, catalog).cells[0]
    attempt = Attempt(default_params(cell, catalog), seed=0)
    Group(Workspace(cell, catalog, folder), [attempt]).run()
    if attempt.status != "ok":
        raise SystemExit(attempt.reason)


CASES = {
    case.name: case
    for case in (
        Case("resume: trials", make_trials, resume, (10**3, 10**4, 10**5), "100,000 trials under 3 s"),
        Case("append: trials before", make_trials, append, (10**3, 10**4, 10**5), "flat"),
        Case(
            "leaderboard: records",
            partial(_records, distinct=False),
            leaderboard,
            (10**3, 10**4, 10**5, 10**6),
            "10 s, 1 GB",
        ),
        Case("leaderboard: cells", partial(_records, distinct=True), leaderboard, (10**2, 10**3, 10**4), "linear"),
        Case("plan: contenders", nothing, partial(_plan, of="contenders"), (10, 100, 1000), "linear"),
        Case("plan: tasks", nothing, partial(_plan, of="tasks"), (10, 100, 1000), "linear"),
        Case("prepare and train: rows", make_rows, train_rows, (3_000, 30_000), "memory does not grow"),
    )
}


@contextmanager
def _watched() -> Iterator[list[int]]:
    """The most anonymous memory that this process had meanwhile, in bytes, looked at every few milliseconds."""
    peak, end = [0], threading.Event()

    def look() -> None:
        while True:
            text = Path("/proc/self/status").read_text()
            peak[0] = max(peak[0], 1024 * int(text.split("RssAnon:")[1].split()[0]))
            if end.wait(0.005):
                return

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        end.set()
        watcher.join()


def _child(what: str, name: str, n: int, folder: Path) -> dict[str, Any]:
    environ = {**os.environ, "ROWS": str(n), "OMP_NUM_THREADS": "1", "MMBENCH_CACHE": str(folder)}
    command = [sys.executable, "-m", "benchmarks.growth", "--point", what, name, str(n), str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}, {n}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _point(what: str, name: str, n: int, folder: Path) -> dict[str, Any]:
    case = CASES[name]
    if what == "make":
        case.make(n, folder)
        return {}
    with _watched() as peak:
        wall, cpu = time.perf_counter(), time.process_time()
        own = case.run(n, folder)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"n": n, "cpu": cpu if own is None else own, "wall": wall, "peak": peak[0]}


def measure(name: str, *, largest: int = 10**5) -> dict[str, Any]:
    """{"points": [{"n", "cpu", "wall", "peak", "disk"}], "exponent", "memory_exponent"} of one case."""
    points = []
    for n in (size for size in CASES[name].sizes if size <= largest):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "run"
            folder.mkdir()
            if CASES[name].make is not nothing:
                _child("make", name, n, folder)
            disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            points.append({**_child("run", name, n, folder), "disk": disk})
    return {
        "points": points,
        "exponent": _slope([(p["n"], p["cpu"]) for p in points]),
        "memory_exponent": _slope([(p["n"], p["peak"]) for p in points]),
    }


def _slope(points: Sequence[tuple[int, float]]) -> float:
    """Of log cost over log size, from the first point that costs something (the last two at least)."""
    if len(points) < 2:
        return math.nan
    first = next((i for i, (_, cost) in enumerate(points) if cost >= FLOOR), 0)
    kept = points[min(first, len(points) - 2) :]
    x, y = [math.log(n) for n, _ in kept], [math.log(cost) for _, cost in kept]
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    apart = sum((a - middle_x) ** 2 for a in x)
    return sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True)) / apart


def figures(*, largest: int = 10**5) -> list[Figure]:
    """An exponent for each case, and one of its memory."""
    made = []
    for name, case in CASES.items():
        found = measure(name, largest=largest)
        facts = {"points": found["points"], "aim": case.claim}
        for what, key in (("time", "exponent"), ("memory", "memory_exponent")):
            value = Spread.of([found[key]])
            made.append(Figure(f"{name}, {what}", value, "exponent", claim="<= 1.1", facts=facts))
    return made


def main() -> None:
    """Measure some cases, or all, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help=f"of: {', '.join(CASES)}")
    parser.add_argument("--largest", type=int, default=10**5, help="leave out larger sizes")
    parser.add_argument("--json", type=Path, help="write it there, too")
    parser.add_argument("--point", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.point:
        what, name, n, folder = given.point
        print(json.dumps(_point(what, name, int(n), Path(folder))))
        return
    found = {}
    for name in given.cases or CASES:
        found[name] = measure(name, largest=given.largest)
        time_grows, memory_grows = found[name]["exponent"], found[name]["memory_exponent"]
        print(f"{name}: time grows as n^{time_grows:.2f}, memory as n^{memory_grows:.2f}")
        for point in found[name]["points"]:
            sizes = f"{point['peak'] / 1e6:8.0f} MB, {point['disk'] / 1e6:8.1f} MB on disk"
            print(f"  {point['n']:>9,}  {point['cpu']:9.4f} s CPU  {point['wall']:8.2f} s  {sizes}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
