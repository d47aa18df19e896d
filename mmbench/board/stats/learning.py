"""Learning curves: what contenders score by the number of train rows, and from how many on fusing is shown to pay.

A task with `train_sizes` stands on a board once for each, as "NAME@SIZE", with tests of its own; here they are joined.
A function of the leaderboard's rows, as `across` is: the report's formats and the site show it.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from mmbench.api.suite import size_of
from mmbench.board.stats.reference import LEVEL

Row: TypeAlias = dict[str, Any]


def mark(rows: Sequence[Row]) -> None:
    """Add to each row of a task with train sizes its `train_size`; to its gain `over_sizes`, the p that is corrected
    within its size, corrected (Bonferroni) for the task's sizes too; and to a fusion's `pays_from`, the size from which
    on, at it and at each larger one, it is shown by that p to beat the best tuned single modality, or None."""
    for own in _tasks(rows).values():
        sizes = sorted(own)
        for size in sizes:
            for row in own[size]:
                row["train_size"] = size
                if (gain := row["fusion_gain"]) and gain["corrected"] is not None:
                    gain["over_sizes"] = min(1.0, gain["corrected"] * len(sizes))
        for name in dict.fromkeys(row["contender"] for found in own.values() for row in found):
            points = [row for size in sizes for row in own[size] if row["contender"] == name]
            if any(row["kind"] == "fusion" for row in points):
                for row in points:
                    row["pays_from"] = _from(points, sizes)


def beats(row: Row) -> bool:
    """Whether a contender is shown, over all sizes, to beat the best tuned single modality at this one."""
    gain = row["fusion_gain"] or {}
    return gain.get("over_sizes") is not None and gain["over_sizes"] < LEVEL and gain["mean"] > 0


def _from(points: Sequence[Row], sizes: Sequence[int]) -> int | None:
    by_size, found = {row["train_size"]: row for row in points}, None
    for size in reversed(sizes):
        if size not in by_size or not beats(by_size[size]):
            break
        found = size
    return found


def largest(rows: Sequence[Row]) -> list[Row]:
    """The rows without those of smaller train sizes: a task counts once where tasks are counted."""
    most: dict[tuple[str, str], int] = {}
    for row in rows:
        name, size = size_of(row["task"])
        key = (row.get("board") or "", name)
        most[key] = max(most.get(key, 0), size or 0)

    def last(row: Row) -> bool:
        name, size = size_of(row["task"])
        return (size or 0) == most[row.get("board") or "", name]

    return [row for row in rows if last(row)]


def many(rows: Sequence[Row]) -> bool:
    """Whether there are several tasks, each counted once."""
    return len({row["task"] for row in largest(rows)}) > 1


def curves(rows: Sequence[Row]) -> list[Row]:
    """For each board and task with train sizes {"task", "metric", "direction", "sizes", "contenders", "pays_from",
    "correction", "sentences"}, and "board" if it has a title; contenders are {"contender", "kind", "points",
    "pays_from"}, the best at the largest size first, and points {"size", "mean", "low", "high", "gain", "over_sizes"},
    all but the size None where there is no score. `mark` has been called."""
    return [_curve(board, task, own) for (board, task), own in _tasks(rows).items()]


def _tasks(rows: Sequence[Row]) -> dict[tuple[str, str], dict[int, list[Row]]]:
    """{(board, task): {size: its rows}}, of those with sizes."""
    found: dict[tuple[str, str], dict[int, list[Row]]] = {}
    for row in rows:
        name, size = size_of(row["task"])
        if size is not None:
            found.setdefault((row.get("board") or "", name), {}).setdefault(size, []).append(row)
    return found


def _curve(board: str, task: str, own: dict[int, list[Row]]) -> Row:
    sizes = sorted(own)
    names = dict.fromkeys(row["contender"] for size in reversed(sizes) for row in own[size])
    by_name = {name: [row for size in sizes for row in own[size] if row["contender"] == name] for name in names}
    contenders = [_contender(name, points, sizes) for name, points in by_name.items()]
    first = own[sizes[0]][0]
    gains = [row["fusion_gain"] for found in own.values() for row in found if row["fusion_gain"]]
    corrections = dict.fromkeys(gain["correction"] for gain in gains if gain["correction"])
    correction = f"{'; '.join(corrections)}; Bonferroni, {len(sizes)} sizes" if corrections else None
    paying = [found["pays_from"] for found in contenders if found["pays_from"] is not None]
    made: Row = {
        **({"board": board} if board else {}),
        "task": task,
        "metric": first["metric"],
        "direction": first["direction"],
        "sizes": sizes,
        "contenders": contenders,
        "pays_from": min(paying, default=None),
        "correction": correction,
    }
    return {**made, "sentences": _sentences(made)}


def _contender(name: str, points: Sequence[Row], sizes: Sequence[int]) -> Row:
    by_size = {row["train_size"]: row for row in points}
    kind = next((row["kind"] for row in reversed(points) if row["kind"]), None)
    found = [_point(size, by_size.get(size)) for size in sizes]
    return {"contender": name, "kind": kind, "points": found, "pays_from": points[0].get("pays_from")}


def _point(size: int, row: Row | None) -> Row:
    nothing: Row = {"size": size, **dict.fromkeys(("mean", "low", "high", "gain", "over_sizes"))}
    if row is None or row["rank"] is None:
        return nothing
    summary, gain = row["metrics"][row["metric"]], row["fusion_gain"] or {}
    known = {name: summary[name] for name in ("mean", "low", "high")}
    return {**nothing, **known, "gain": gain.get("mean"), "over_sizes": gain.get("over_sizes")}


def _sentences(curve: Row) -> list[str]:
    """From how many rows on fusing pays, in words."""
    fusions = [found for found in curve["contenders"] if found["kind"] == "fusion"]
    if not fusions:
        return ["There is no fusion."]
    if curve["correction"] is None:
        return ["Nothing was tested, so nothing is said of from how many train rows on fusing pays."]
    what, how = "is shown to beat the best tuned single modality", f"(paired tests at 5%; {curve['correction']})"
    paying = sorted((f for f in fusions if f["pays_from"] is not None), key=lambda f: f["pays_from"])
    if paying:
        each = ", ".join(f"{_called(found)} from {found['pays_from']:,}" for found in paying)
        said = [f"From {curve['pays_from']:,} train rows on a fusion {what}: {each} {how}."]
    else:
        reach = f"{curve['sizes'][0]:,} to {curve['sizes'][-1]:,} train rows"
        said = [f"From none of {len(curve['sizes'])} sizes on ({reach}) a fusion {what} {how}."]
    short = [(found, sizes) for found in fusions if found["pays_from"] is None and (sizes := _shown_at(found))]
    if short:
        each = ", ".join(
            f"{_called(found)} with {' and '.join(f'{size:,}' for size in sizes)}" for found, sizes in short
        )
        said.append(f"At some sizes only, and not at larger ones: {each}.")
    return said


def _shown_at(found: Row) -> list[int]:
    return [
        p["size"] for p in found["points"] if p["over_sizes"] is not None and p["over_sizes"] < LEVEL and p["gain"] > 0
    ]


def _called(found: Row) -> str:
    name: str = found["contender"]
    return f'"{name}"' if " " in name else name
