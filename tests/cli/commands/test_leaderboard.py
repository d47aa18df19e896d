"""`mmbench leaderboard` on a real run: several runs, boards apart, LaTeX, the score against a cost."""

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmbench.board.stats import pareto
from mmbench.store.chain import to_line
from tests.cli.commands.conftest import TOYS

Type = Callable[..., Any]
Toy = Callable[[str], Path]


def rewrite(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change each record of a run, and chain its file anew."""
    lines = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    content, checksum = b"", "0" * 64
    for number, line in enumerate(lines):
        if line["kind"] == "record":
            change(line["row"])
        made, checksum = to_line(number, checksum, line["kind"], line["row"])
        content += made
    (run / "records.jsonl").write_bytes(content)
    for stale in ("seal.json", "plan.jsonl"):
        (run / stale).unlink(missing_ok=True)


def environment(**changed: Any) -> Callable[[dict[str, Any]], None]:
    """The record as if it had been made elsewhere."""

    def change(row: dict[str, Any]) -> None:
        row["environment"] = {"protocol": 1, "processor": "Abacus", "device": "cpu"} | changed

    return change


def rows(mmbench: Type, *words: str) -> list[dict[str, Any]]:
    answer = mmbench("leaderboard", *words, "--format", "json")
    assert answer.code == 0, answer.err
    found: list[dict[str, Any]] = json.loads(answer.out)["rows"]
    return found


def test_a_run_beside_itself_is_one_board_with_ties(mmbench: Type, toy: Toy) -> None:
    for name in ("one", "two"):
        rewrite(toy(name), environment())
    found = {row["contender"]: row for row in rows(mmbench, "one", "two")}
    assert found["concat (one)"]["rank"] == found["concat (two)"]["rank"] == 1
    assert found["concat (one)"]["metrics"] == found["concat (two)"]["metrics"]
    assert found["concat (two)"]["run"] == "two"
    assert found["raises (one)"]["status"] == "error"
    assert rows(mmbench, "one", "results/one") == rows(mmbench, "one"), "the same run twice is one"


def test_what_cant_be_compared_is_refused_in_one_line(mmbench: Type, toy: Toy) -> None:
    rewrite(toy("one"), environment())
    rewrite(toy("two"), environment(protocol=2))
    answer = mmbench("leaderboard", "one", "two")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        "mmbench: error: one and two can't stand on one board: they differ in "
        "protocol (1; 2); --separate gives each its own\n"
    )


@pytest.mark.parametrize("form", ["table", "markdown", "latex"])
def test_separate_boards_say_what_differs(mmbench: Type, toy: Toy, form: str) -> None:
    rewrite(toy("one"), environment())
    rewrite(toy("two"), environment(protocol=2))
    answer = mmbench("leaderboard", "one", "two", "--separate", "--format", form)
    assert answer.code == 0
    assert "2 boards" in answer.err
    first, second = (answer.out.index(f"{run}: protocol {p}") for run, p in (("one", 1), ("two", 2)))
    assert 0 <= first < second
    assert answer.out.count("RuntimeError: this fusion always raises") == 2


def test_a_run_gone_on_with_by_another_mmbench_is_two_boards(mmbench: Type, toy: Toy) -> None:
    def change(row: dict[str, Any]) -> None:
        environment(protocol=2 if row["contender"] == "concat" else 1)(row)

    rewrite(toy("one"), change)
    answer = mmbench("leaderboard", "one", "--format", "csv")
    assert "not all rows can be compared: 2 boards" in answer.err
    found = {row["contender"]: row for row in csv.DictReader(io.StringIO(answer.out))}
    assert found["concat"]["board"] == "one: protocol 2"
    assert found["only left"]["board"] == found["majority"]["board"] == "one: protocol 1"
    assert found["concat"]["rank"] == found["only left"]["rank"] == "1"
    compared = mmbench("compare", "one", "concat", "only left")
    assert "not run under the same conditions: protocol 2; 1" in compared.out


@pytest.mark.parametrize("form", ["table", "markdown", "latex"])
def test_costs_of_another_machine_are_left_out(mmbench: Type, toy: Toy, form: str) -> None:
    def change(row: dict[str, Any]) -> None:
        environment(processor="Babbage" if row["contender"] == "concat" else "Abacus")(row)

    rewrite(toy("one"), change)
    answer = mmbench("leaderboard", "one", "--format", form)
    flat = " ".join(answer.out.split())
    assert "Costs of concat on toy were measured under other conditions (device Babbage, not Abacus)" in flat
    found = {row["contender"]: row for row in rows(mmbench, "one")}
    assert found["concat"]["cost"]["latency_ms_p50"] is None
    assert found["concat"]["cost_apart"]["latency_ms_p50"] > 0
    assert found["only left"]["cost"]["latency_ms_p50"] > 0
    pareto = mmbench("leaderboard", "one", "--by", "pareto").out
    assert re.search(r"^ +concat +– +–", pareto, re.MULTILINE)


def test_latex_is_made_of_whole_tables(mmbench: Type, toy: Toy) -> None:
    toy("toy")
    text = mmbench("leaderboard", "toy", "--format", "latex").out
    for command in ("begin{table*}", "end{table*}", "toprule", "midrule", "bottomrule"):
        assert text.count(f"\\{command}") == 1
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in lines if "multicolumn" not in line} == {6}
    assert r"only left" in text
    assert r"\multicolumn{5}" in next(line for line in lines if "raises" in line)
    assert "95\\%" in text


def test_score_against_a_cost(mmbench: Type, toy: Toy) -> None:
    toy("toy")
    by_name = {row["contender"]: row for row in rows(mmbench, "toy")}
    for cost, key in (("latency", "latency_ms_p50"), ("parameters", "parameters"), ("memory", "peak_memory_bytes")):
        text = mmbench("leaderboard", "toy", "--by", "pareto", "--cost", cost).out
        known = {n: r for n, r in by_name.items() if r["rank"] and r["cost"][key] is not None}
        for name in known:
            points = [
                (r["metrics"]["accuracy"]["mean"], r["cost"][key], pareto.noise(r, key, list(by_name.values())))
                for r in known.values()
            ]
            score, price, unsure = points[list(known).index(name)]
            beaten = any(
                (a >= score and b < price - own - unsure) or (a > score and b <= price + own + unsure)
                for a, b, own in points
            )
            starred = re.search(rf"^\* +{name} ", text, re.MULTILINE) is not None
            assert starred is not beaten, (cost, name)
        assert "nothing is imputed" in text
    assert "| \\* | concat |" in mmbench("leaderboard", "toy", "--by", "pareto", "--format", "markdown").out
    assert mmbench("leaderboard", "toy", "--by", "pareto", "--format", "csv").code == 2


def test_by_metric_shows_what_failed(mmbench: Type, toy: Toy) -> None:
    toy("toy")
    told = mmbench("leaderboard", "toy", "--by", "metric").out
    assert re.search(r"raises +error", told)
    assert "\nbrier, lower is better\n" in told, "the direction of every metric, not of the tuned one alone"
    assert "\nf1, higher is better\n" in told


def test_what_the_search_chose_is_a_suite_that_others_run(mmbench: Type, toy: Toy) -> None:
    """Without a search: the same parameters, the same score."""
    run = toy("toy")
    assert mmbench("leaderboard", "toy", "--best", "-o", "winners.toml").code == 0
    plan = mmbench("plan", "winners.toml", "--plugin", TOYS)
    assert plan.code == 0, plan.err
    assert "concat" in plan.out
    assert "raises" not in plan.out
    done = mmbench("run", "winners.toml", "--plugin", TOYS, "--contender", "concat", "--workers", "1", "-q")
    assert done.code == 0, done.err
    before, after = (record_of(folder, "concat") for folder in (run, Path("results/toy-best")))
    assert after["params"] == before["params"]
    assert after["spent"]["trials"] == 1
    scores = [
        [refit["metrics"]["accuracy"] for refit in row["refits"] if refit["role"] == "tuned"] for row in (before, after)
    ]
    assert scores[0] == pytest.approx(scores[1])


def record_of(run: Path, contender: str) -> dict[str, Any]:
    from mmbench.api.record import to_json
    from mmbench.store.reading import read_run

    return next(to_json(record) for record in read_run(run).records if record.contender == contender)


@pytest.mark.parametrize("words", [["--format", "json"], ["--by", "metric"], ["results/other"]])
def test_the_best_of_one_run_in_toml_only(mmbench: Type, toy: Toy, words: list[str]) -> None:
    toy("toy")
    toy("other")
    answer = mmbench("leaderboard", "toy", "--best", *words)
    assert (answer.code, answer.out) == (2, "")
    assert "--best writes the suite of one run, in TOML" in answer.err
