"""The board's formats: they fit the terminal, they parse, and no name acts on what shows it."""

import csv
import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from mmbench import plugins
from mmbench.api.parts import Metric
from mmbench.board import figures, report
from mmbench.board.rank import UNTESTED, leaderboard
from mmbench.board.stats.across import across
from mmbench.store.reading import RunData

EVIL = "x\x1b[31m|[bold]*_`<b>\n=\u202e"


@pytest.fixture
def rows(
    build: Callable[..., RunData], cells: list[dict[str, Any]], metrics: dict[str, Metric]
) -> list[dict[str, Any]]:
    curves = {"missing image": [(0.0, 0.8), (0.5, 0.6), (1.0, 0.2)]}
    extra = {"task": "a", "contender": "a_very_long_name_of_a_fusion_that_nobody_cut", "tuned": [0.5], "curves": curves}
    return leaderboard(build([*cells, extra]), metrics)


def shown(rows: list[dict[str, Any]], width: int) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None, legacy_windows=False)
    for renderable in report.table(rows, width):
        console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_the_table_fits_and_keeps_what_matters(rows: list[dict[str, Any]], width: int) -> None:
    text = shown(rows, width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    assert ".850 [" in text
    assert "+.250 [+." in text
    assert "✗ broken  error: loss became NaN" in text
    assert "– mbt  skipped: needs tokens" in text
    assert "average rank" in text
    assert "only text" in text
    flat = " ".join(text.split())
    assert "95% interval" in flat
    assert "chosen by its validation score" in flat
    assert "only text, .700 on validation, .100 ahead of only image" in flat


def test_a_wide_terminal_shows_more(rows: list[dict[str, Any]]) -> None:
    rows = [row for row in rows if row["task"] == "a"]
    heads = [shown(rows, width).count(head) for width in (80, 160) for head in ("rows/s", "MiB", "default")]
    assert heads[:2] == [0, 0]
    assert all(count > 0 for count in heads[2:])
    assert "12.3k" in shown(rows, 160)
    assert "a_very_long_name_of_a_fusion_that_nobody_cut" in shown(rows, 160)
    assert "…" in shown(rows, 60)


def test_nothing_in_a_name_acts(rows: list[dict[str, Any]]) -> None:
    evil = [{**row, "contender": EVIL, "task": EVIL, "reason": EVIL} for row in rows]
    text = shown(evil, 100)
    assert "\x1b[31m" not in text
    assert "\u202e" not in text
    assert "[bold]" in text
    assert r"x\x1b[31m" in text
    written = report.markdown(evil)
    assert "\x1b" not in written
    assert "<b>" not in written.replace(r"\<b", "")
    pipes = {
        len(re.findall(r"(?<!\\)\|", line)) for line in written.splitlines() if "broken" in line or EVIL[:1] in line
    }
    assert len(pipes - {0}) <= 3  # as many as there are different tables
    for line in report.csv(evil).splitlines():
        assert "\x1b" not in line


def test_markdown_is_a_table_of_equal_rows(rows: list[dict[str, Any]]) -> None:
    text = report.markdown(rows)
    for block in text.split("\n\n"):
        if block.startswith("|"):
            counts = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(counts) == 1
    assert "## a\n" in text
    assert re.search(r"\| only text \| [^|]* \| reference \|", text), "the one that all gains are over"
    assert re.search(r"\| only image \| [^|]* \| single \|", text)
    assert "| 1 | concat | .850&nbsp;\\[" in text, "a figure is not broken from its interval"
    assert not re.search(r"\d \\\[", "".join(line for line in text.splitlines() if line.startswith("|")))
    assert "| – | broken | error: loss became NaN |" in text
    assert "missing image, by severity:" in text
    assert "| .800 | .600 | .200 | .550 |" in text


def test_markdown_and_latex_say_how_contenders_stand_over_all_tasks(
    build: Callable[..., RunData], cells: list[dict[str, Any]], metrics: dict[str, Metric]
) -> None:
    rows = leaderboard(build([*cells, {"task": "b", "contender": "gated", "tuned": [0.5]}]), metrics)
    summary = {row["contender"]: f"{row['rating']['value']:.0f}" for row in across(rows) if row["rating"]}
    markdown, latex = (text.split("All tasks")[1] for text in (report.markdown(rows), report.latex(rows)))
    assert f"| 1.2 | concat | {summary['concat']} |  |" in markdown
    assert f"| – | only text | {summary['only text']} | b |" in markdown
    assert rf"-- & only text & {summary['only text']} & b \\" in latex
    for text in (markdown, latex):
        assert "Friedman's test over 2 tasks" in text
    assert "All tasks" not in report.latex([row for row in rows if row["task"] == "a"])
    evil = [{**row, "contender": r"\input{x}|" + row["contender"]} for row in rows]
    assert r"\input" not in report.latex(evil)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [("low_rank", "low_rank"), ("_x_", r"\_x\_"), ("a|b", r"a\|b"), ("a\\|b", r"a\\\|b"), ("[a](b)", r"\[a\](b)")],
)
def test_markdown_escapes(text: str, escaped: str) -> None:
    assert report.escape(text) == escaped


def test_csv_reads_back_in_full(rows: list[dict[str, Any]]) -> None:
    found = list(csv.DictReader(io.StringIO(report.csv(rows))))
    assert len(found) == len(rows)
    for text, row in zip(found, rows, strict=True):
        assert text["contender"] == row["contender"]
        assert text["rank"] == ("" if row["rank"] is None else str(row["rank"]))
        if row["metrics"]:
            assert float(text["metrics.accuracy.mean"]) == row["metrics"]["accuracy"]["mean"]
    assert found[1]["modalities"] == "image; text"
    heads = {name.rpartition(".")[0] for name in found[0]}
    assert "fusion_gain" in heads
    assert not heads & set(found[0]), "a row without a gain makes no column of its own"


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_a_spreadsheet_finds_no_formula(rows: list[dict[str, Any]], start: str) -> None:
    formula = f'{start}HYPERLINK("x"),1'
    (found,) = csv.DictReader(io.StringIO(report.csv([{**rows[0], "reason": formula}])))
    assert found["reason"] == f"'{formula}"


def test_json_is_strict_and_as_promised(rows: list[dict[str, Any]]) -> None:
    row = {**rows[0], "spent": {"trials": 8, "seconds": float("nan")}, "valid": float("inf")}
    found = json.loads(report.json([row, *rows[1:]], run="small"), parse_constant=pytest.fail)
    assert found["run"] == "small"
    assert found["rows"][0]["spent"] == {"trials": 8, "seconds": None}
    assert found["rows"][0]["valid"] is None
    assert found["rows"][1:] == rows[1:]
    contenders = found["all_tasks"]["contenders"]
    assert (contenders[0]["contender"], contenders[0]["average_rank"]) == ("concat", 1)
    assert found["all_tasks"]["told_apart"] is None  # one contender alone has both tasks
    assert "all_tasks" not in json.loads(report.json(rows[1:]))


def test_json_looks_as_python_would_write_it(rows: list[dict[str, Any]]) -> None:
    """Whatever strings and figures are in it; so that files of earlier versions are written again the same."""
    odd = {
        **rows[0],
        "reason": 'x \x7f\u202e\n🦉 {[,:" \\ ',
        "cost": {"big": 10**400, "small": 1e-300, "none": [], "no": {}},
    }
    for changed in (odd, {**odd, "contender": "half \ud800 of a pair"}):
        text = report.json([changed], run="ünï")
        plain = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        assert text == figures.shown_json(plain) + "\n"
        assert "\u202e" not in text
        assert json.loads(text)["rows"] == [changed]


def test_an_empty_board_is_no_error() -> None:
    assert report.table([], 80) == []
    assert report.markdown([]) == "\n"
    assert report.csv([]) == "\n"
    assert json.loads(report.json([])) == {"run": "", "rows": []}


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (figures.score(0.8424), ".842"),
        (figures.score(1.0), "1.000"),
        (figures.score(-0.5), "-.500"),
        (figures.score(0.0), ".000"),
        (figures.score(12.3456), "12.35"),
        (figures.score(0.0001), "1e-04"),
        (figures.score(0.0001, among=0.8), ".000"),
        (figures.signed(-0.0002), "-.000"),
        (figures.with_interval({"mean": 0.029, "low": -0.0002, "high": 0.058}, sign=True), "+.029 [-.000 +.058]"),
        (figures.with_interval({"mean": 2e-5, "low": 1e-5, "high": 4e-5}), "2e-05 [1e-05 4e-05]"),
        (figures.score(float("nan")), "nan"),
        (figures.score(None), "–"),
        (figures.signed(0.021), "+.021"),
        (figures.signed(-0.021), "-.021"),
        (figures.count(999), "999"),
        (figures.count(12_345), "12.3k"),
        (figures.count(999_999), "1.0M"),
        (figures.count(123_456_789), "123M"),
        (figures.quantity(0.123), "0.12"),
        (figures.quantity(123.4), "123"),
        (figures.mebibytes(3 * 2**19), "1.50"),
        (figures.duration(75), "75s"),
        (figures.duration(720), "12m"),
        (figures.duration(12_240), "3.4h"),
        (figures.short("recall@5_backward", plugins.load().metrics), "R@5←"),
    ],
)
def test_figures(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_a_board_of_few_seeds_says_how_far_to_trust_it(
    build: Callable[..., RunData], metrics: dict[str, Metric], seeds: int
) -> None:
    board = leaderboard(build([{"task": "a", "contender": "concat", "tuned": [0.6] * seeds}]), metrics)
    told = [note for note in figures.notes(board) if note in figures.FEW_SEEDS.values()]
    assert told == ([figures.FEW_SEEDS[seeds]] if seeds < 3 else [])
    assert all(note in report.markdown(board) for note in told)


def gained(rows: list[dict[str, Any]], gains: list[float]) -> list[dict[str, Any]]:
    """As many rows of one task, each with its gain."""
    gain = {**UNTESTED, "against": "only text"}
    (row,) = [row for row in rows if (row["task"], row["contender"]) == ("a", "gated")]
    return [
        {**row, "contender": f"c{place}", "curves": {}, "fusion_gain": {**gain, "mean": value}}
        for place, value in enumerate(gains)
    ]


def test_a_majority_class_far_behind_empties_nobody_s_bar(rows: list[dict[str, Any]]) -> None:
    lines = shown(gained(rows, [0.04, 0.02, -0.02, -0.5]), 160).splitlines()
    bars = [
        next(re.findall(r"\S*│\S*", line)[0] for line in lines if f" c{place} " in line and "│" in line)
        for place in range(4)
    ]
    assert bars == ["│████", "│██", "██│", "◂███│"]


# Widths of Computer Modern at 8 points, what \footnotesize is in a document of 10: digits, and all else roughly.
POINTS = dict.fromkeys("0123456789", 4.25) | dict.fromkeys(".,[] il", 2.6) | dict.fromkeys("+-$", 6.6)
LINE = 345.0
"""The width of the text in LaTeX's article."""


def width(latex: str) -> float:
    """Of the widest table: columns are as wide as their widest cell, or as they say."""
    found = []
    for spec, body in re.findall(r"\\begin\{tabular\}\{([^\n]*)\}\n(.*?)\\end\{tabular\}", latex, re.DOTALL):
        columns = re.findall(r"p\{([\d.]+)\\linewidth\}|\b([lr])|([lr])", re.sub(r"@\{\}|>\{.*?\}(?=p)", "", spec))
        lines = [line.removesuffix(r" \\").split(" & ") for line in body.splitlines() if line.endswith(r" \\")]
        lines = [line for line in lines if len(line) == len(columns)]
        texts = [
            [re.sub(r"\\(allowbreak|textbf)|[{}\\$]", "", cell) for cell in cells] for cells in zip(*lines, strict=True)
        ]
        wide = [max(sum(POINTS.get(char, 4.4) for char in cell) for cell in cells) for cells in texts]
        shares = [LINE * float(share) if share else own for (share, *_), own in zip(columns, wide, strict=True)]
        (gap,) = set(re.findall(r"tabcolsep\}\{([\d.]+)pt", latex)) or {"6"}
        found.append(sum(shares) + 2 * float(gap) * (len(columns) - 1))
    return max(found)


@pytest.mark.parametrize("scale", [1, 50])
def test_a_table_in_latex_is_no_wider_than_the_page(rows: list[dict[str, Any]], scale: int) -> None:
    """Nor does it lie on its neighbour where the text has two columns."""
    wide = []
    for row in rows:
        if (found := row["metrics"].get("accuracy")) and found["low"] is not None:
            gain = {**(row["fusion_gain"] or {**UNTESTED, "against": "x"}), **dict.fromkeys(ENDS, -scale * 0.1234)}
            score = {**found, **{name: scale * found[name] for name in ENDS}}
            metric = "balanced_accuracy"
            wide.append({**row, "metrics": {metric: score}, "metric": metric, "fusion_gain": gain})
    text = report.latex(wide)
    assert width(text) < LINE
    assert r"\begin{table}" not in text
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") == 3
    assert r"a\_\allowbreak{}very\_\allowbreak{}long" in text, "a long name is broken"


ENDS = ("mean", "low", "high")


def test_bold_or_coloured_is_what_the_corrected_tests_show(rows: list[dict[str, Any]]) -> None:
    """Whatever the interval of the figure alone says."""
    gain = {"mean": 0.05, "low": 0.01, "high": 0.09, "p": 0.01, "against": "only text", "correction": "Holm, 9 pairs"}
    (row,) = [row for row in rows if (row["task"], row["contender"]) == ("a", "gated")]
    best = {"p": 1.0, "correction": "max-t, 4 rivals"}
    for corrected in (0.04, 0.06):
        own = [
            {
                **row,
                "curves": {},
                "best": best,
                "fusion_gain": {**gain, "corrected": corrected},
            }
        ]
        sure = corrected < 0.05
        assert ("| **+.050**&nbsp;" in report.markdown(own)) == sure
        assert (r"\textbf{+.050} [" in report.latex(own)) == sure
        console = Console(width=160, file=io.StringIO(), force_terminal=True, color_system="standard")
        console.print(*report.table(own, 160))
        assert isinstance(console.file, io.StringIO)
        assert ("\x1b[1;32m+.050" in console.file.getvalue()) == sure
        assert "corrected over all that are compared with it (Holm, 9 pairs)" in report.markdown(own)
        assert "With 95% confidence the one that is best on other items" in report.markdown(own)
        assert "(paired on the same items; max-t, 4 rivals)" in report.markdown(own)
