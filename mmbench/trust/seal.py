"""The seal of a run: one small file that names all of it, so that a reader can hold a copy of a line of text.

`seal.json` has the number of rows and the last checksum of each chained file, and the SHA-256 of suite.toml and
environment.json; the chains' checksums cover every row, and the rows have the SHA-256 of every file of predictions. Its
own SHA-256 is the seal: what is published, or signed. It has no date and no name of a machine: the same content has the
same seal. Written by `session` when a run is at its end, and by `mmbench sign`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmbench.errors import StoreError
from mmbench.store.chain import content_of, write_file
from mmbench.trust import lines
from mmbench.trust.findings import Finding

SEAL = "seal.json"
SCHEMA = 1
CHAINS = ("plan.jsonl", "trials.jsonl", "records.jsonl")
FILES = ("suite.toml", "environment.json")
SHORT = 20
"""As many hexadecimal digits are shown as the seal's name: 80 bits, which nobody finds a second content for."""
LEAST = 16


def compute(folder: Path) -> bytes:
    """What seal.json must hold for the folder as it is. Raises StoreError if a chain's end is damaged."""
    chains = {}
    for name in CHAINS:
        rows, checksum = lines.head(folder / name)
        chains[name] = {"rows": rows, "sha256": checksum}
    return _written({"schema": SCHEMA, "chains": chains, "files": {name: digest(folder / name) for name in FILES}})


def _written(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=2).encode() + b"\n"


def digest(path: Path) -> str | None:
    """The file's SHA-256; None if it isn't there."""
    content = content_of(path)
    return None if content is None else hashlib.sha256(content).hexdigest()


def write(folder: Path) -> str:
    """Seal the folder as it is, and give the seal; a folder that is sealed so already is left alone."""
    content = compute(folder)
    if stored(folder) != content:
        write_file(folder / SEAL, content)
    return hashlib.sha256(content).hexdigest()


def stored(folder: Path) -> bytes | None:
    """The bytes of seal.json; None if there is none."""
    return content_of(folder / SEAL)


def name(folder: Path) -> str | None:
    """The first digits of the stored seal, as boards show it; None if the run has none. Nothing is checked."""
    content = stored(folder)
    return None if content is None else hashlib.sha256(content).hexdigest()[:SHORT]


def notes(called: Mapping[Path, str]) -> list[str]:
    """What a board says of the seals of its runs, {folder: name}; a run without one is not spoken of."""
    return [f"{run}: seal {found}" for folder, run in called.items() if (found := name(folder))]


def check(folder: Path, chains: Sequence[lines.Lines]) -> Iterator[Finding]:
    """Hold the files against seal.json; `chains` are the files as `lines.read` has them."""
    content = stored(folder)
    if content is None:
        return
    try:
        said: Any = json.loads(content)
        for chain in chains:
            yield from _check_chain(chain, said["chains"][chain.name])
        for file in FILES:
            if digest(folder / file) != said["files"][file]:
                yield Finding("seal", file, "is not the file that was sealed")
        if said["schema"] != SCHEMA:
            yield Finding("seal", SEAL, f"has schema {said['schema']!r}, not {SCHEMA}")
        for name in [*(set(said) - {"schema", "chains", "files"}), *(set(said["chains"]) - set(CHAINS))]:
            yield Finding("seal", SEAL, f"has a field {name[:80]!r}, which mmbench does not write")
        if _written(said) != content:
            yield Finding("seal", SEAL, "is not in the form that mmbench writes: the same content has one seal")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        yield Finding("seal", SEAL, f"is no seal that mmbench wrote: {type(error).__name__}: {str(error)[:100]}")


def _check_chain(chain: lines.Lines, said: Mapping[str, Any]) -> Iterator[Finding]:
    rows, there = said["rows"], len(chain.checksums)
    if type(rows) is not int or rows < 0:
        raise ValueError(f"{str(rows)[:50]!r} is no number of rows")
    if there < rows:
        yield Finding("seal", chain.name, f"has {there} rows, but {rows} were sealed: the last ones were dropped")
    elif rows and chain.checksums[rows - 1] != said["sha256"]:
        yield Finding("seal", f"{chain.name}, line {rows}", "is not the row that was sealed: the file was rewritten")
    elif there > rows:
        what = f"{there - rows} rows came after the seal, which has {rows}: the run went on and is not at its end"
        yield Finding("seal", chain.name, what)


def check_published(folder: Path, published: str) -> Iterator[Finding]:
    """Hold the folder's content against a seal, or its first digits, that was published. Raises StoreError for what
    is no seal."""
    wanted = published.strip().lower()
    if not LEAST <= len(wanted) <= 64 or set(wanted) - set("0123456789abcdef"):
        raise StoreError(f"--seal {published[:80]!r} is no seal: give at least {LEAST} of its hexadecimal digits")
    try:
        found = hashlib.sha256(compute(folder)).hexdigest()
    except StoreError as error:
        yield Finding("seal", str(folder), str(error))
        return
    if not found.startswith(wanted):
        what = f"the run's seal is {found[: len(wanted)]}, not the published {wanted}: it is not what was published"
        yield Finding("seal", str(folder), what)
