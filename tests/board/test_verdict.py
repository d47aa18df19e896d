"""The verdict: what is shown and what is not, right in number, and honest where little is known."""

import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mmbench import plugins
from mmbench.api.parts import Metric
from mmbench.board import report
from mmbench.board.rank import UNTESTED, leaderboard
from mmbench.board.stats import pareto
from mmbench.board.verdict import overall, verdict, verdicts
from mmbench.store.reading import RunData, read_run

PUBLISHED = Path(__file__).parents[2] / "results" / "published" / "starter"
Row = dict[str, Any]


def row(contender: str, mean: float = 0.8, *, kind: str = "fusion", rank: int | None = 1, **other: Any) -> Row:
    """A row with what a verdict reads of it; `gain` and `corrected` make a fusion gain."""
    gain, corrected = other.pop("gain", None), other.pop("corrected", None)
    tested = {"corrected": corrected, "correction": "Holm, 3 pairs", "p": corrected} if corrected is not None else {}
    known: Row = {
        "task": "a",
        "contender": contender,
        "status": "ok" if rank else "error",
        "rank": rank,
        "kind": kind,
        "metric": "accuracy",
        "direction": "max",
        "metrics": {"accuracy": {"mean": mean, "low": mean - 0.02, "high": mean + 0.02, "n_seeds": 3}} if rank else {},
        "best": {"p": 0.5, "correction": "max-t, 3 rivals"},
        "reference": None,
        "fusion_gain": None if gain is None else {**UNTESTED, "mean": gain, "against": "only text", **tested},
        "tuning_gain": None,
        "cost": {"latency_ms_p50": 0.5},
    }
    return {**known, **other}


def single(mean: float = 0.7, **other: Any) -> Row:
    own = {"reference": {"valid": 0.72, "next": "only image", "margin": 0.05}, "rank": 2, "kind": "single"}
    return row("only text", mean, **{**own, **other})


def said(*rows: Row) -> str:
    return " ".join(verdict(rows).sentences)


def test_fusions_are_counted_by_what_the_corrected_tests_show() -> None:
    rows = [
        row("sum", 0.9, gain=0.2, corrected=0.01),
        row("gated", 0.75, gain=0.05, corrected=0.2),
        row("late", 0.5, gain=-0.2, corrected=0.001, rank=4),
        row("gone", rank=None),
        row("logistic", 0.92, kind="baseline", gain=0.22, corrected=0.001),
        row("sum in half", 0.9, kind="derived", gain=0.2, corrected=0.01),
        single(),
    ]
    found = verdict(rows)
    counts = found.fusions
    assert (counts.better, counts.not_told_apart, counts.worse, counts.untested, counts.unscored) == (1, 1, 1, 0, 1)
    assert found.sentences[0] == (
        '1 of 3 fusions is shown to beat the best tuned single modality, "only text" (accuracy .700), 1 is shown to '
        "lose to it and 1 can't be told apart from it (paired tests at 5%; Holm, 3 pairs); 1 more has no score."
    )
    assert found.sentences[1] == '"only text" was chosen by validation (.720), .050 ahead of "only image".'


@pytest.mark.parametrize(
    ("corrected", "sentence"),
    [
        ([0.2], "The only fusion can't be told apart from the best"),
        ([0.01], "The only fusion is shown to beat the best"),
        ([0.01, 0.02], "Both fusions are shown to beat the best"),
        ([0.2, 0.9], "None of 2 fusions is shown to beat the best"),
        ([0.01, 0.2], "1 of 2 fusions is shown to beat the best"),
        ([0.01, 0.01, 0.2], "2 of 3 fusions are shown to beat the best"),
        ([-0.01], "The only fusion is shown to lose to the best"),
        ([-0.01, -0.02], "None of 2 fusions is shown to beat the best"),
    ],
)
def test_singular_and_plural(corrected: list[float], sentence: str) -> None:
    rows = [row(f"f{i}", gain=0.1 if p > 0 else -0.1, corrected=abs(p)) for i, p in enumerate(corrected)]
    assert said(*rows, single()).startswith(f"{sentence} tuned single modality,")


def test_where_nothing_can_be_said_that_is_said() -> None:
    untested = [row("sum", 0.8, gain=0.1), row("gated", 0.6, gain=-0.1)]
    assert said(*untested, single()).startswith("Nothing was tested: 1 of 2 fusions has a better mean than the best")
    alone = [row("sum"), row("gated")]
    assert said(*alone).startswith(
        "No single modality has a score, so nothing can be said of what fusing brings to 2 f"
    )
    assert said(single(rank=1)).startswith(
        'There is no fusion. "only text" (.700 [.680 .720]; a single modality) is the'
    )
    assert said(row("sum", rank=None)) == "None of 1 fusion has a score. No contender has a score."
    only = single(reference={"valid": 0.7, "next": None, "margin": None})
    assert '"only text" is the only single modality that has a score.' in said(*untested, only)
    tie = single(reference={"valid": 0.7, "next": "only image", "margin": 0.0})
    assert 'Validation did not choose between "only text" and "only image"' in said(*untested, tie)


@pytest.mark.parametrize(
    ("seeds", "told"),
    [(1, "one refit seed this speaks of other test items only"), (2, "two refit seeds these tests are rough")],
)
def test_few_seeds_are_named(seeds: int, told: str) -> None:
    rows = [row("sum", gain=0.1, corrected=0.01), single()]
    assert told not in said(*rows)
    rows[0]["metrics"]["accuracy"]["n_seeds"] = seeds
    assert told in said(*rows)


def test_the_cheapest_is_of_those_that_share_the_first_rank() -> None:
    rows = [
        row("sum", 0.90, gain=0.2, corrected=0.01, cost={"latency_ms_p50": 2.0}),
        row("sum in half", 0.89, kind="derived", cost={"latency_ms_p50": 0.4}),
        row("logistic", 0.88, kind="baseline", cost={"latency_ms_p50": None}),
        single(cost={"latency_ms_p50": 0.1}),
    ]
    assert verdict(rows).cheapest == {
        "contender": "sum in half",
        "kind": "derived",
        "cost": "latency_ms_p50",
        "value": 0.4,
    }
    assert (
        'with 95% confidence the best is it or one of 2 others, the cheapest of them "sum in half" (0.40 ms a row; a d'
        in said(*rows)
    )
    assert verdict(rows).best == {
        **{"contender": "sum", "kind": "fusion", "mean": 0.9, "low": 0.88, "high": 0.92, "not_told_apart": 2},
        **{"confidence": 0.95, "among": ["sum", "sum in half", "logistic"]},
    }
    first = [rows[0], {**rows[1], "rank": 2}, {**rows[2], "rank": 2}]
    assert 'sum (.900 [.880 .920]) is the best, with 95% confidence; the next is "sum in half".' in said(*first)
    assert 'the best is it or "sum in half", which is cheaper (0.40 ms a row)' in said(*rows[:2])
    dear = {**rows[1], "cost": {"latency_ms_p50": 9.0}}
    assert 'the best is it or "sum in half", which is not cheaper (2.00 ms a row)' in said(rows[0], dear)


def test_what_tuning_brought_against_what_fusing_brought() -> None:
    tuned = [{**UNTESTED, "mean": mean, "corrected": p} for mean, p in ((0.01, 0.9), (0.03, 0.01), (0.02, None))]
    rows = [row(f"f{i}", gain=0.1 * i, corrected=0.01, tuning_gain=gain) for i, gain in enumerate(tuned)]
    rows.append(row("forest", kind="baseline", gain=9.0, corrected=0.01, tuning_gain={**UNTESTED, "mean": 9.0}))
    assert (
        "In the median of 3 fusions, tuning brought +.020 (shown for 1) and fusing brought +.100 (shown for 2) over "
        'the tuned "only text".'
    ) in said(*rows, single())


def test_all_tasks_together() -> None:
    won = [row("sum", 0.9, gain=0.2, corrected=0.01), single()]
    even = [{**own, "task": "b"} for own in (row("sum", gain=0.1, corrected=0.3), single(rank=1))]
    none = [{**own, "task": "c"} for own in (row("sum"),)]
    found = overall([*won, *even, *none])
    assert found["sentences"][0] == (
        "On 1 of 2 tasks a fusion is shown to beat the best tuned single modality (a): of 2 comparisons 1 shows a "
        "gain, 0 a loss, and 1 neither (corrected within each task); 1 task had no such test."
    )
    assert found["won"] == ["a"]
    assert overall([*won, *none])["sentences"][0].startswith(
        "On a, the only task where this was tested, a fusion is shown"
    )
    lost = [{**own, "task": "d"} for own in even]
    assert overall([*even, *lost])["sentences"][0].startswith("On none of 2 tasks is a fusion shown to beat the best")
    assert found["fusing"] == {"median": pytest.approx(0.15), "of": 2, "shown": 1}
    other = [{**own, "metric": "f1", "metrics": {"f1": own["metrics"]["accuracy"]}} for own in even]
    assert overall([*won, *other])["fusing"] is None, "a median over unlike metrics means nothing"
    assert verdicts(won)["overall"] is None


def test_the_json_of_a_board_has_its_verdict_and_all_that_it_is_made_of() -> None:
    """On the published run: whoever has the JSON can compute it again."""
    found = json.loads(report.json(leaderboard(read_run(PUBLISHED), plugins.load().metrics), run="starter"))
    assert list(found) == ["run", "verdict", "rows", "all_tasks"], "the verdict first"
    assert json.loads(json.dumps(verdicts(found["rows"]))) == found["verdict"]
    tasks = {task["task"]: task for task in found["verdict"]["tasks"]}
    assert {name: task["fusions"]["better"] for name, task in tasks.items()} == {
        "emoji_group": 0,
        "watch_exercise": 0,
        "uci_mfeat": 10,
    }
    for name, task in tasks.items():
        own = {row["contender"]: row for row in found["rows"] if row["task"] == name}
        assert (
            task["reference"]["contender"]
            == min((r for r in own.values() if len(r["modalities"]) == 1), key=lambda r: -r["valid"])["contender"]
        )
        gains = [r["fusion_gain"] for r in own.values() if r["kind"] == "fusion"]
        better = [gain for gain in gains if gain["corrected"] < 0.05 and gain["mean"] > 0]
        assert len(better) == task["fusions"]["better"]
        assert {r["contender"] for r in own.values() if r["kind"] == "baseline"} == {"majority", "logistic", "forest"}
        first = [r for r in own.values() if r["rank"] == 1]
        cheapest = pareto.cheapest(first, "latency_ms_p50")
        assert cheapest is not None
        assert task["cheapest"]["value"] == cheapest["cost"]["latency_ms_p50"]


def test_every_format_begins_with_it(
    build: Callable[..., RunData], cells: list[Row], metrics: Mapping[str, Metric]
) -> None:
    rows = leaderboard(build(cells), metrics)
    first = "Both fusions are shown to beat the best tuned single modality"
    console = Console(width=100, file=io.StringIO(), color_system=None)
    console.print(*report.table(rows, 100))
    assert isinstance(console.file, io.StringIO)
    for text in (console.file.getvalue(), report.markdown(rows), report.latex(rows)):
        flat = " ".join(re.sub(r"\\", "", text).split())
        assert flat.index("a fusion is shown to beat") < flat.index(first) < flat.index(".850")
    evil = [
        {**own, "contender": "x\x1b[31m<b>|" if own["contender"] == "only text" else own["contender"]} for own in rows
    ]
    assert "\x1b" not in report.markdown(evil) + report.latex(evil) + report.json(evil)
