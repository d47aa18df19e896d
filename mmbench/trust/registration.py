"""Pre-registration: which cells were planned, written before the first trial, in a separate file in the run folder.

`plan.jsonl` is chained like the store's files. Its first row is the plan that the run began with: what its first
command would run, or a registration made earlier by `mmbench plan --register`. A later command that brings other cells
adds a row. Each row says after how many trials it was written. `session` writes, `rank` and `verify` read.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmbench.api.record import Record
from mmbench.api.suite import Suite, task_of
from mmbench.errors import StoreError, SuiteError
from mmbench.store import suitefile
from mmbench.store.chain import Chain, decode, scan, write_file
from mmbench.store.reading import TRIALS, RunData
from mmbench.trust import lines

PLAN = "plan.jsonl"
SCHEMA = 1
LARGEST_FILE = 100_000_000
REGISTERED, LATER, CHANGED = "registered", "added later", "changed since"
"""How a result stands to the plan: in it; not in it; in it, but with other code, data, budget or space."""


@dataclass(frozen=True)
class PlannedCell:
    """One task and contender of a plan."""

    task: str
    contender: str
    cell: str
    """The cell's key: a hash of all that its result depends on."""
    space: str
    """The hash of its search space."""


@dataclass(frozen=True)
class Registration:
    """A plan that was written down."""

    suite: str
    """The suite's name."""
    suite_hash: str
    cells: tuple[PlannedCell, ...]
    device: str
    mmbench: str
    date: str
    """By the clock of whoever wrote it: proves nothing unless the file, or its hash, was published."""
    after: tuple[int, str] | None = None
    """How many rows the run's trials.jsonl had, and the checksum of the last; None outside a run."""
    made_before: bool = False
    """Whether it was made by `mmbench plan --register`, so that no contender counts as planned but those in it."""

    @property
    def hash(self) -> str:
        """What `mmbench plan` prints: it follows from the cells' keys."""
        keys = [cell.cell for cell in self.cells]
        return hashlib.sha256(json.dumps(keys).encode()).hexdigest()[:20]

    def json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "hash": self.hash, **asdict(self)}


def now() -> str:
    """The date of a registration made now."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def from_json(row: Mapping[str, Any]) -> Registration:
    """Raises ValueError if the row is no registration, or its cells are not those that its hash was made of."""
    from pydantic import TypeAdapter

    stated = dict(row)
    if stated.pop("schema", None) != SCHEMA:
        raise ValueError("it was written by another version of mmbench")
    digest = stated.pop("hash", None)
    found: Registration = TypeAdapter(Registration).validate_python(stated)
    if found.hash != digest:
        raise ValueError(f"its cells make the plan {found.hash}, but it says {str(digest)[:40]}")
    return found


def save(path: Path, registration: Registration) -> None:
    """Write a registration file, to be published. Raises StoreError if it can't be written, or is there already."""
    if path.exists():
        raise StoreError(f"{path} is there already: a registration is not written over; give another name")
    write_file(path, json.dumps(registration.json(), indent=2).encode() + b"\n")


def load(path: Path) -> Registration:
    """Read a registration file. Raises SuiteError, one line, if it is none."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise SuiteError(f"{path} is larger than any registration")
        return from_json(json.loads(path.read_bytes()))
    except OSError as error:
        raise SuiteError(f"registration {str(path)!r} can't be read: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SuiteError(f"{path} is no registration that `mmbench plan --register` wrote: {reason}") from error


def read(folder: Path) -> tuple[Registration, ...]:
    """The plans of a run, the first one first; none for a run that was made without. Raises StoreError if damaged."""
    found: list[Registration] = []
    scan(folder / PLAN, lambda kind, raw, _: found.append(from_json(decode(raw))) if kind == "plan" else None)
    return tuple(found)


def check(registration: Registration, suite: Suite, earlier: Sequence[Registration], *, begun: bool = False) -> None:
    """Refuse a registration that the run can't be held to.

    `earlier` are the plans that the run has; `begun` says that it has results. Raises SuiteError if it is the
    registration of another suite, StoreError if it was made before but the run began with another plan, or none.
    """
    if registration.suite_hash != suitefile.suite_hash(suite):
        raise SuiteError(
            f"the registration is of suite {registration.suite!r} with other contents than this {suite.name!r}: "
            "give the suite as it was registered, with the same --trials, --limit and --seed"
        )
    if not registration.made_before:
        return
    if earlier and earlier[0].hash != registration.hash:
        began = f"with plan {earlier[0].hash}, not with the registered {registration.hash}"
        raise StoreError(f"this run began {began}; give another --name, or --fresh")
    if begun and not earlier:
        raise StoreError("this run began without a registration; give another --name, or --fresh")


def register(folder: Path, registration: Registration, suite: Suite) -> None:
    """Write down what is to be run, unless earlier rows have all of it. The caller holds the run's lock.

    Raises as `check` does.
    """
    earlier = read(folder)
    check(registration, suite, earlier)
    known = {cell.cell for plan in earlier for cell in plan.cells}
    if earlier and all(cell.cell in known for cell in registration.cells):
        return
    row = replace(registration, after=lines.head(folder / TRIALS)).json()
    chain = Chain(folder / PLAN, lambda kind, raw, _: None)
    try:
        chain.append("plan", row)
    finally:
        chain.close()


class Standing:
    """How a run's results stand to its first plan. Called with a record, it gives "registered", "added later" or
    "changed since"; None where no plan was written before the first trial.

    Where the first plan is the run's own, and no registration made before, a contender whom the suite names counts as
    planned too: the suite can't change within a run. `behind` gives the stored records that one of a board is made
    of; it stands as the worst of them.
    """

    def __init__(
        self,
        plans: Sequence[Registration],
        suite: Suite,
        behind: Callable[[Record], Sequence[Record]] = lambda record: (record,),
    ) -> None:
        self._behind = behind
        self._known = bool(plans) and plans[0].after is not None and plans[0].after[0] == 0
        self._planned: dict[tuple[str, str], str] = {}
        for plan in plans if self._known else ():
            for cell in plan.cells:
                if plan is plans[0] or (not plans[0].made_before and _names(suite, cell)):
                    self._planned.setdefault((cell.task, cell.contender), cell.cell)

    def __call__(self, record: Record) -> str | None:
        if not self._known:
            return None
        found = {self._stands(stored) for stored in self._behind(record)}
        return next((state for state in (CHANGED, LATER) if state in found), REGISTERED)

    def _stands(self, record: Record) -> str:
        key = self._planned.get((record.task, record.contender))
        return LATER if key is None else REGISTERED if key == record.cell else CHANGED


def standing(run: RunData) -> Standing:
    """As `Standing`, of a run that has been read. Raises StoreError if its plans are damaged."""
    return Standing(read(run.path), run.suite, run.behind)


def _names(suite: Suite, cell: PlannedCell) -> bool:
    """Whether the suite file itself has this contender on this task."""
    for spec in suite.contenders:
        name = cell.contender
        own = name.startswith(f"{spec.name} ") if spec.each_modality else name == spec.name
        if own and (spec.tasks is None or task_of(cell.task) in spec.tasks):
            return True
    return False
