"""How contenders stand over all tasks of a board: average place, Bradley-Terry rating, and who can be told apart.

A function of the leaderboard's rows; the report's formats and the site show it.

Who lacks a task has no average place, and the places are those among the contenders that have all tasks. For its rating
the contests of a missing task did not take place: it is rated by those it had. Nothing is imputed. A task with train
sizes counts once, with the largest.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.parts.scores import sign
from mmbench.board.stats import friedman, ratings
from mmbench.board.stats.learning import largest

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

Row: TypeAlias = dict[str, Any]


def across(rows: Sequence[Row]) -> list[Row]:
    """A line for each contender, best first: average rank, place on each task, rating, and the tasks it lacks."""
    tasks, contenders, scores = _scores(largest(rows))
    if not contenders:
        return []
    whole, places = _places(contenders, scores)
    rated, intervals = ratings.ratings(scores)
    own_column = {number: place for place, number in enumerate(whole)}
    summary = []
    for number, contender in enumerate(contenders):
        own = places[:, own_column[number]] if number in own_column else None
        missing = [task for task, score in zip(tasks, scores[:, number], strict=True) if score != score]
        low, high = intervals[number].tolist() if intervals is not None else (None, None)
        summary.append(
            {
                "contender": contender,
                "average_rank": None if own is None else float(own.mean()),
                "places": None if own is None else dict(zip(tasks, own.tolist(), strict=True)),
                "tasks": len(tasks) - len(missing),
                "missing": missing,
                "rating": {"value": float(rated[number]), "low": low, "high": high}
                if len(missing) < len(tasks)
                else None,
            }
        )
    return sorted(summary, key=_best_first)


def _best_first(row: Row) -> tuple[bool, float, str]:
    return row["average_rank"] is None, row["average_rank"] or 0.0, row["contender"]


def told_apart(rows: Sequence[Row]) -> Row | None:
    """What Friedman's test and Nemenyi's critical difference say of the contenders that have all tasks.

    {"tasks", "contenders", "friedman_p", "critical_difference", "groups", "from_best", "best"}: names, the best first;
    those of one group can't be told apart. `best` is the 95% set of the best, whose average ranks are no farther than
    `from_best` from the best one. None with fewer than two tasks or contenders.
    """
    tasks, contenders, scores = _scores(largest(rows))
    if len(tasks) < 2:
        return None
    whole, places = _places(contenders, scores)
    found = friedman.compare(places)
    if found is None:
        return None
    return {
        "tasks": len(tasks),
        "contenders": len(whole),
        "friedman_p": found.p,
        "critical_difference": found.critical,
        "groups": friedman.by_place([contenders[number] for number in whole], found),
        "from_best": found.from_best,
        "best": [contenders[whole[number]] for number in found.best()],
    }


def _scores(rows: Sequence[Row]) -> "tuple[list[str], list[str], Array]":
    """Tasks, contenders, and the mean scores [T, K], of which more is better; NaN for what has no rank."""
    import numpy as np

    tasks = list(dict.fromkeys(row["task"] for row in rows))
    contenders = list(dict.fromkeys(row["contender"] for row in rows))
    line, column = ({name: place for place, name in enumerate(names)} for names in (tasks, contenders))
    scores = np.full((len(tasks), len(contenders)), np.nan)
    for row in rows:
        if row["rank"] is not None:
            mean = row["metrics"][row["metric"]]["mean"]
            scores[line[row["task"]], column[row["contender"]]] = sign(row["direction"]) * mean
    return tasks, contenders, scores


def _places(contenders: Sequence[str], scores: "Array") -> "tuple[list[int], Array]":
    """The numbers of those that have all tasks, and their places, [T, K']."""
    import numpy as np

    whole = [number for number in range(len(contenders)) if not np.isnan(scores[:, number]).any()]
    return whole, friedman.places(scores[:, whole])
