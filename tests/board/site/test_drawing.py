"""The plots: what lies together is seen apart, what lies far off is an arrow, all of it in text that SVG can't obey."""

import re

import pytest

from mmbench.board.site import drawing
from mmbench.board.site.drawing import Mark, Scale, Tried


def test_a_domain_shows_what_lies_together() -> None:
    lows, highs = [0.1, 0.78, 0.79, 0.80, 0.81, 0.82], [0.2, 0.83, 0.84, 0.85, 0.86, 0.87]
    low, high = drawing.domain(lows, highs)
    assert 0.6 < low < 0.78
    assert 0.87 < high < 0.9
    mirrored = drawing.domain([-v for v in highs], [-v for v in lows], higher=False)
    assert mirrored == pytest.approx((-high, -low))
    low, high = drawing.domain([0.5], [0.5])
    assert low < 0.5 < high


@pytest.mark.parametrize("ends", [(0.0, 1.0), (0.71, 0.86), (-0.2, 0.13), (3.0, 900.0), (0.001, 0.0012)])
def test_ticks_are_round_and_within(ends: tuple[float, float]) -> None:
    for log in (False, True):
        if log and ends[0] <= 0:
            continue
        scale = Scale(*ends, 0, 100, log)
        ticks = scale.ticks()
        assert 1 <= len(ticks) <= 12
        assert all(ends[0] - 1e-9 <= tick <= ends[1] + 1e-9 for tick in ticks)
        assert [scale(tick) for tick in ticks] == sorted(scale(tick) for tick in ticks)


def test_a_whisker_stays_in_its_frame_and_says_its_figures() -> None:
    scale = Scale(0.7, 0.9, 6, 174)
    svg = drawing.whisker(0.8, 0.5, 1.2, scale)
    assert 'aria-label="95% interval .500 to 1.200"' in svg
    places = [float(x) for x in re.findall(r'(?:cx|x1|x2)="([^"]*)"', svg)]
    assert min(places) == 6
    assert max(places) == 174
    assert "<circle" not in drawing.whisker(0.1, None, None, scale), "an arrow at the edge"


@pytest.mark.parametrize(("shown", "css"), [(1, "more"), (-1, "less"), (0, "")])
def test_a_gain_is_coloured_only_where_its_test_shows_it(shown: int, css: str) -> None:
    """Not where its own interval leaves 0."""
    svg = drawing.whisker(0.15, 0.1, 0.2, Scale(-0.3, 0.3, 0, 100), zero=True, shown=shown)
    assert re.findall(r'class="dot ?(\w*)"', svg) == [css]
    assert 'class="zero" x1="50.0"' in svg


def test_a_scatter_names_its_front_and_joins_it() -> None:
    marks = [Mark("fast", 0.7, 1.0, True), Mark("<b>", 0.9, 50.0, True), Mark("worse", 0.6, 2.0, False)]
    svg = drawing.scatter(marks, metric="accuracy", cost="ms", higher=True)
    assert svg.count('class="on"') == 2
    assert svg.count('class="front"') == 1
    assert "&lt;b&gt;</text>" in svg
    assert "<title>worse: .600 at 2.00</title>" in svg
    assert "<b>" not in svg


def test_trials_show_what_failed_and_what_was_pruned() -> None:
    tried = [Tried(0, 0.5, False), Tried(1, None, False), Tried(2, 0.9, True), Tried(3, 0.7, False)]
    svg = drawing.trials(tried, metric="accuracy", higher=True)
    assert re.findall(r'<circle class="(\w+)"', svg) == ["on", "pruned", "on"]
    assert svg.count('class="cross"') == 1
    assert "trial 2: .900, pruned" in svg


def test_places_are_dots_from_the_best_down_and_bars_do_not_cover_each_other() -> None:
    averages = [("<b>", 1.5), ("second", 2.0), ("third", 3.5), ("n" * 99, 5.0), ("last", 6.0)]
    groups = [["<b>", "second", "third"], ["second", "third", "n" * 99], ["n" * 99, "last"]]
    svg = drawing.places(averages, groups, critical=2.0)
    dots = [(float(x), float(y)) for x, y in re.findall(r'class="on" cx="([^"]*)" cy="([^"]*)"', svg)]
    assert dots == sorted(dots)
    assert len(dots) == 5
    ruler = [float(x) for x in re.findall(r'class="interval" x1="([^"]*)" y1="24" x2="([^"]*)"', svg)[0]]
    assert ruler[1] - ruler[0] == pytest.approx((dots[2][0] - dots[0][0]), abs=0.2), "as long as 3.5 is from 1.5"
    bars = re.findall(r'class="bar" x1="([^"]*)" y1="([^"]*)" x2="[^"]*" y2="([^"]*)"', svg)
    spans = [(float(x), float(top), float(end)) for x, top, end in bars]
    assert [sum(top <= y <= end for _, y in dots) for _, top, end in spans] == [3, 3, 2]
    assert spans[0][0] == spans[2][0] != spans[1][0], "the first and the third fit into one column"
    assert "<b>" not in svg
    assert "n…</text>" in svg


def test_places_without_a_group_fit_in_the_frame() -> None:
    svg = drawing.places([("one", 1.0), ("two", 2.0)], [], critical=12.0)
    assert max(float(x) for x in re.findall(r'(?:cx|x1|x2)="([^"]*)"', svg)) <= drawing.PLOT[0]
    assert 'class="bar"' not in svg
