"""Each benchmark in its smallest form: figures come out whole, and both sides do the same work. Nothing is timed."""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import cases, cohort, flops, loops, measure, quality, tasks
from benchmarks.measure import Figure, Reading, Spread
from benchmarks.plain import script, trainers


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def checked(figures: Iterable[Figure]) -> list[dict[str, Any]]:
    """The figures as JSON gives them back, each of them whole."""
    found: list[dict[str, Any]] = json.loads(json.dumps([command.entry(figure) for figure in figures]))
    for figure in found:
        spread = figure["value"]
        assert 0 < spread["low"] <= spread["median"] <= spread["high"] < math.inf
        assert spread["n"] >= 1
    return found


def smallest(name: str) -> cases.Case:
    (case,) = (case for case in cases.cases(quick=True, dropout=0.0) if case.name == name)
    return case


@pytest.mark.parametrize("name", ["six-view MLP", "LeNet pair", "GRU pair", "small transformer"])
def test_mmbench_and_the_bare_loop_learn_the_same(name: str) -> None:
    case = smallest(name)
    bare = trainers.bare(case.models()[1], case)
    assert loops.ours(case)() == pytest.approx(bare, abs=1.5 / len(case.valid.target))
    assert case.name == "LeNet pair" or len(set(bare)) > 1  # it learns: scores move


@pytest.mark.parametrize("name", list(trainers.LOOPS))
def test_every_loop_of_users_trains_the_same_epochs(name: str) -> None:
    if name in trainers.NEEDS:
        pytest.importorskip(trainers.NEEDS[name])
    case = smallest("six-view MLP")
    scores = trainers.LOOPS[name](case.models()[1], case)
    assert len(scores) == case.epochs
    assert all(0 <= score <= 1 for score in scores)


def test_loops_give_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "cases", lambda quick: [smallest("GRU pair")])
    monkeypatch.setattr(trainers, "LOOPS", {"DataLoader + Adam": trainers.dataloader})
    names = [figure["name"] for figure in checked(loops.measure(quick=True, rounds=1))]
    assert names == ["GRU pair: mmbench / bare loop", "GRU pair: DataLoader + Adam / mmbench"]


def test_operations_are_those_of_the_layers() -> None:
    """Two projections, four linear layers and two products of attention a block, a head: counted by hand. The rows
    themselves need no gradient."""
    case = smallest("small transformer")
    rows, tokens, width = case.batch_size, 3, 128
    features = 2 * rows * 64 * (9 * 576 + 16 * 384)
    project = features + 2 * 2 * rows * 64 * width
    block = 2 * rows * tokens * width * (3 + 1 + 2 + 2) * width + 2 * 2 * rows * tokens * tokens * width
    forward = project + 2 * block + 2 * rows * width * cases.CLASSES
    once = flops.operations(case) / case.epochs
    steps, looks = len(case.train.target) / rows, len(case.valid.target) / rows
    assert once == pytest.approx((3 * steps + looks) * forward - steps * features, rel=0.02)


@pytest.mark.slow
def test_cohorts_give_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort, "EPOCHS", 2)
    first, *others = checked(cohort.measure(quick=True, rounds=1))
    assert all(figure["facts"]["models"] == 16 for figure in (first, *others))
    assert first["claim"] == ">= 3"


def test_the_plain_script_and_mmbench_search_the_same_rows(tmp_path: Path) -> None:
    """On a real task of a few rows: both sides told to try two trials, in processes of their own."""
    task = tasks.SearchTask("few", "uci_mfeat", {}, limit=60)
    file = tmp_path / "rows.safetensors"
    tasks.export(task, file)
    data = script.read("uci_mfeat", file, frozen=False)
    assert (len(data.train), len(data.valid), data.classes) == (60, 60, 10)
    found = list(script.study("uci_mfeat", data, trials=2, seed=0, budget=script.Budget(epochs=2)))
    assert [(number, epochs) for number, _, epochs in found] == [(0, 2), (1, 2)]
    assert all(0 <= score <= 1 for _, score, _ in found)


@pytest.mark.slow
def test_time_to_quality_counts_whole_processes(tmp_path: Path) -> None:
    variant = quality.Variant("smallest", tasks.TASKS["uci_mfeat"], ">= 0", seeds=1, first=1)
    file = tmp_path / "rows.safetensors"
    tasks.export(variant.task, file)
    (figure,) = checked([quality.pair(variant, file)])
    assert figure["facts"]["plain script: trials"] == [1]  # its first trial set the target
    assert figure["facts"]["plain script: reached"] == "1 of 1"
    assert figure["facts"]["mmbench: reached"] in ("0 of 1", "1 of 1")
    assert all(seconds > 1 for seconds in figure["seconds"].values())  # no less than importing torch


def test_a_search_that_never_reaches_the_target_counts_with_all_it_spent() -> None:
    search = [quality.Tried(0.5, 1, 2), quality.Tried(0.7, 3, 4), quality.Tried(0.6, 5, 6)]
    assert quality._end(0.6, search) == search[1]
    assert quality._end(0.9, search) == search[-1]


def test_a_search_that_never_reaches_the_target_is_paid_for_by_the_others() -> None:
    slow, fast = [(10.0, True), (50.0, False), (30.0, True)], [(5.0, True), (5.0, True), (5.0, True)]
    assert quality._needed(slow) == 45
    assert quality._needed([(10.0, False)]) == 20
    spread = quality._ratio([slow, fast])
    assert spread.median == 9
    assert 2 <= spread.low < 9 < spread.high


def test_a_ratio_is_that_of_its_rounds() -> None:
    readings = {"a": [Reading(2, 4), Reading(9, 9), Reading(4, 4)], "b": [Reading(1, 1), Reading(3, 3), Reading(1, 2)]}
    figure = measure.compare("a / b", readings, over=("a", "b"), claim="<= 3")
    assert (figure.value.median, figure.value.low, figure.value.high) == (3, 2.5, 3.5)
    assert figure.reached is True
    assert figure.seconds == {"a": 4, "b": 1}


def test_sides_take_turns() -> None:
    order: list[str] = []
    sides = {name: lambda name=name: lambda: order.append(name) for name in "abc"}
    readings = measure.take_turns(sides, 2, warm=1)
    assert order == list("abcbcacab")
    assert {name: len(found) for name, found in readings.items()} == {"a": 2, "b": 2, "c": 2}


def test_the_command_keeps_json_and_prints_the_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = [Figure("x: a / b", Spread.of([1.0, 1.02, 1.5]), claim="<= 1.03")]

    def some(name: str, *, quick: bool) -> list[Figure]:
        if name == "flops":
            raise RuntimeError("lost")
        return figures

    monkeypatch.setattr(command, "_figures", some)
    file = tmp_path / "speed.json"
    assert command.main(["loops", "flops", "--quick", "--json", str(file)]) == 1
    found = json.loads(file.read_text())
    assert found["benchmarks"]["loops"][0]["value"]["median"] == 1.02
    assert found["failed"] == {"flops": "RuntimeError: lost"}
    assert {"processor", "cores", "load", "libraries", "commit"} <= set(found["machine"])
    capsys.readouterr()
    assert command.main(["--markdown", str(file)]) == 0
    assert "| x: a / b | 1.020x (1.010 to 1.260) |  | <= 1.03: reached |" in capsys.readouterr().out


def test_a_wrong_name_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["loop"])
    assert "no benchmark 'loop'" in capsys.readouterr().err
