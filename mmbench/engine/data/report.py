"""What a data set holds, in counts and in warnings: made once with its table, kept beside it as report.json.

It has counts only, no target of any row, as processes that tune can read it. `tables` makes it, the command line shows
it, and its warnings stand in the records and on the board.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.data import SPLITS, Target
from mmbench.api.parts import Dataset
from mmbench.engine.data.intake import Seen, whole_rows

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

Report: TypeAlias = dict[str, Any]
FORM = 1
ACROSS = (("test", "train"), ("test", "validation"), ("validation", "train"))
"""Which split's rows should not be another's."""
REPEATS = ("text", "tabular")
"""Kinds whose values often repeat by nature: a word, a category."""
MUCH = 0.5
"""From this share of rows on, gaps and empty texts are warned of."""
SOME = 0.05
"""From this share of a split's rows on, repeated ones are warned of."""
NAMED = 5
"""Classes that a sentence names."""


def make(
    dataset: Dataset,
    facts: Mapping[str, Any],
    seen: Mapping[str, Mapping[str, Seen]],
    targets: "Mapping[str, Array]",
    declared: "Mapping[str, Array] | None" = None,
) -> Report:
    """The report of a data set. facts: as the table's; seen: {split: {modality: what was seen}}; targets by split;
    declared: as `intake.declared` has it."""
    whole = {split: whole_rows(seen[split]) for split in SPLITS}
    modalities = {m: {"kind": kind, **_modality(m, seen)} for m, kind in dataset.columns.items()}
    found: Report = {
        "form": FORM,
        "rows": dict(facts["rows"]),
        "classes": _classes(dataset, facts, targets),
        "modalities": modalities,
        "whole": _alike(whole),
    }
    found["warnings"] = [{"modality": m, "text": text} for m, text in _warnings(dataset, found, seen, targets)]
    apart = _of_declared(dataset, facts["rows"], declared or {})
    found["warnings"] += [{"modality": None, "text": text, "of_splits": True} for text in apart]
    return found


def warnings(report: Mapping[str, Any], modalities: Sequence[str] | None = None, *, folded: bool = False) -> list[str]:
    """The sentences that concern some modalities, or all of them; folded: the splits are not the data set's own."""
    found = [w for w in report["warnings"] if not (folded and w.get("of_splits"))]
    return [w["text"] for w in found if w["modality"] is None or modalities is None or w["modality"] in modalities]


def lines(report: Mapping[str, Any]) -> list[str]:
    """The report for a terminal: what there is, a line a modality, then the warnings."""
    text = [f"rows: {_by_split(report['rows'])}"]
    classes = report["classes"]
    if classes:
        few = list(classes.items()) if len(classes) <= 2 * NAMED else []
        text += [f"class {name!r}: {_by_split(counts)}" for name, counts in few]
        if not few:
            sizes = [sum(counts.values()) for counts in classes.values()]
            text.append(f"classes: {len(classes)}, of {min(sizes):,} to {max(sizes):,} rows")
    for modality, row in report["modalities"].items():
        said = [f"{row['distinct']:,} different values"]
        for name in ("missing", "unreadable", "empty", "repeated"):
            if any(row[name].values()):
                said.append(f"{name} {_by_split(row[name])}")
        if shared := {name: n for name, n in row["shared"].items() if n}:
            said.append(f"shared {', '.join(f'{n:,} {name}' for name, n in shared.items())}")
        text.append(f"{modality} ({row['kind']}): {'; '.join(said)}")
    return [*text, *(f"warning: {warning}" for warning in warnings(report))]


def _by_split(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {counts[split]:,}" for split in SPLITS)


def _of_declared(dataset: Dataset, rows: Mapping[str, int], declared: "Mapping[str, Array]") -> Iterator[str]:
    """Where the data set's own splits don't keep to the groups and the time that it declares."""
    import numpy as np

    ends = np.cumsum([rows[split] for split in SPLITS])[:-1]
    if "group" in declared:
        by_split = dict(zip(SPLITS, np.split(declared["group"], ends), strict=True))
        for one, other in ACROSS:
            mine = np.unique(by_split[one])
            if shared := int(np.isin(mine, by_split[other]).sum()):
                yield f"{shared:,} of {len(mine):,} groups ({dataset.groups!r}) of {one} are in {other} too"
    if "time" in declared:
        by_split = dict(zip(SPLITS, np.split(declared["time"], ends), strict=True))
        first = by_split["test"].min(initial=np.iinfo(np.int64).max)
        if late := int((by_split["train"] >= first).sum()):
            yield f"{late:,} of {rows['train']:,} train rows are not earlier ({dataset.time!r}) than all test rows"


def _modality(modality: str, seen: Mapping[str, Mapping[str, Seen]]) -> dict[str, Any]:
    own = {split: seen[split][modality] for split in SPLITS}
    missing = {split: int((~one.present).sum()) - len(one.unreadable) for split, one in own.items()}
    return {
        "missing": missing,
        "unreadable": {split: len(one.unreadable) for split, one in own.items()},
        "empty": {split: one.empty for split, one in own.items()},
        "rounded": sum(one.rounded for one in own.values()),
        **_alike(own),
    }


def _alike(own: Mapping[str, Seen]) -> dict[str, Any]:
    """How many rows have the content of another: in their split, and in others; missing ones are like none."""
    import numpy as np

    marks = {split: one.marks[one.present] for split, one in own.items()}
    return {
        "distinct": len(np.unique(np.concatenate(list(marks.values())))),
        "repeated": {split: _repeated(found) for split, found in marks.items()},
        "shared": {f"{a} in {b}": int(np.isin(marks[a], marks[b]).sum()) for a, b in ACROSS},
    }


def _repeated(marks: "Array") -> int:
    """The rows that are not the only one of their content."""
    import numpy as np

    counts = np.unique(marks, return_counts=True)[1]
    return int(counts[counts > 1].sum())


def _classes(
    dataset: Dataset, facts: Mapping[str, Any], targets: "Mapping[str, Array]"
) -> dict[str, dict[str, int]] | None:
    """{class: {split: rows}}, of a target that has classes."""
    counts = {split: dataset.target.counts(targets[split], facts["classes"]) for split in SPLITS}
    first = counts[SPLITS[0]]
    if first is None:
        return None
    return {name: {split: (counts[split] or {}).get(name, 0) for split in SPLITS} for name in first}


def _warnings(
    dataset: Dataset,
    report: Report,
    seen: Mapping[str, Mapping[str, Seen]],
    targets: "Mapping[str, Array]",
) -> Iterator[tuple[str | None, str]]:
    """(modality or None, sentence)"""
    rows, whole = report["rows"], report["whole"]
    for one, other in ACROSS:
        if shared := whole["shared"][f"{one} in {other}"]:
            yield None, f"{shared:,} of {rows[one]:,} {one} rows are {other} rows"
    for split in SPLITS:
        if (again := whole["repeated"][split]) and again >= SOME * rows[split]:
            yield None, f"{again:,} of {rows[split]:,} {split} rows are not the only ones of their content"
    for modality, row in report["modalities"].items():
        yield from ((modality, text) for text in _of_modality(modality, row, rows, whole))
    yield from ((None, text) for text in _of_classes(report["classes"] or {}))
    for split in SPLITS if report["classes"] is None and not dataset.target.sides else ():
        if len(targets[split]) > 1 and (targets[split] == targets[split][0]).all():
            yield None, f"every target of {split} is the same"
    if dataset.target.sides:
        yield from ((None, text) for text in _of_sides(dataset.target, seen))


def _of_modality(modality: str, row: Report, rows: Mapping[str, int], whole: Report) -> Iterator[str]:
    total, several = sum(rows.values()), sum(row["missing"].values()) + sum(row["unreadable"].values())
    natural = row["repeated"]["train"] / max(1, rows["train"]) if row["kind"] in REPEATS else 0.0
    for one, other in ACROSS:
        shared = row["shared"][f"{one} in {other}"]
        # What is shared by whole rows has been said; a column of few values is expected to share them.
        if shared > whole["shared"][f"{one} in {other}"] and shared / rows[one] > 2 * natural:
            yield f"{shared:,} of {rows[one]:,} values of {modality!r} in {one} are in {other} too"
    if row["distinct"] == 1 and total - several > 1:
        yield f"all values of {modality!r} are alike"
    if bad := sum(row["unreadable"].values()):
        by_split = _by_split(row["unreadable"])
        yield f"{_some(bad, 'value')} of {modality!r} that can't be read, taken as missing ({by_split})"
    for name, said in (("missing", "is missing"), ("empty", "is an empty text")):
        for split in SPLITS:
            if (count := row[name][split]) and count >= MUCH * rows[split]:
                yield f"{modality!r} {said} in {count:,} of {rows[split]:,} {split} rows"
    if row["rounded"]:
        numbers = _some(row["rounded"], "whole number")
        yield f"{numbers} of {modality!r} rounded: encoders get float32, which holds them up to 16,777,216 only"


def _some(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _of_classes(classes: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    for split in ("test", "validation"):
        for here, there in ((split, "train"), ("train", split)):
            lacking = [name for name, counts in classes.items() if counts[here] and not counts[there]]
            if lacking:
                rows = sum(classes[name][here] for name in lacking)
                yield f"{there} has no row of {named(lacking)}, {here} has {rows:,}"
    if empty := [name for name, counts in classes.items() if not any(counts.values())]:
        yield f"no split has a row of {named(empty)}"


def named(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:NAMED]))
    if len(names) == 1:
        return f"class {shown}"
    return f"{len(names)} classes ({shown}{', ...' if len(names) > NAMED else ''})"


def _of_sides(target: Target, seen: Mapping[str, Mapping[str, Seen]]) -> Iterator[str]:
    for split in SPLITS:
        for modalities in target.sides:
            side = whole_rows({m: seen[split][m] for m in modalities})
            if again := _repeated(side.marks[side.present]):
                named = " + ".join(map(repr, modalities))
                yield f"{again:,} {split} rows share their {named} with another, so that more than one match is right"
