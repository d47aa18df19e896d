"""The pages: everything that the board knows is on them, the same run gives the same bytes, links lead somewhere."""

import csv
import hashlib
import io
import json
import re
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any

from mmbench.board.site.render import TEMPLATES
from tests.board.site.conftest import Make, Site, trial


class Page(HTMLParser):
    """Tags that are balanced, ids, links and text."""

    VOID = {"meta", "br", "link", "img"}

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(content.decode())
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        found = dict(attrs)
        self.links += [found["href"] or ""] if "href" in found else []
        self.ids += [found["id"] or ""] if "id" in found else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += f" {data}"


def pages(site: Site) -> dict[str, Page]:
    return {path: Page(content) for path, content in site.items() if path.endswith(".html")}


def test_a_page_for_the_boards_for_reading_and_for_each_cell(site: Site) -> None:
    found = pages(site)
    assert len(found) == 2 + 9
    first = " ".join(found["index.html"].text.split())
    for said in ("concat", ".850", "[", "only text", "robust", "missing image", "broken error loss became NaN"):
        assert said in first
    for said in ("mbt skipped needs tokens", "average rank", "nothing is imputed", "higher is better", "200 test rows"):
        assert said in first
    assert "Fusion gain" in found["reading.html"].text


def test_all_tasks_have_ratings_and_who_can_be_told_apart(make: Make, cells: list[dict[str, Any]]) -> None:
    more = [{"task": task, "contender": "gated", "tuned": [0.5, 0.52]} for task in "bcdef"]
    more += [{"task": task, "contender": "concat", "tuned": [0.7, 0.71]} for task in "cdef"]
    made = make([*cells, *more])
    text = " ".join(Page(made["index.html"]).text.split("All tasks", 1)[1].split())
    (standing,) = json.loads(made["data/leaderboard.json"])["all_tasks"]["contenders"][:1]
    rating = standing["rating"]
    assert standing["contender"] == "concat"
    assert f"concat {rating['value']:.0f} [{rating['low']:.0f} {rating['high']:.0f}]" in text
    assert re.search(r"– only text \d+ ", text), "who lacks a task is rated by those it has"
    assert "Friedman's test over 6 tasks" in text
    assert "critical difference" in text
    drawn = made["index.html"].decode().split('aria-label="average places', 1)[1].split("</svg>")[0]
    assert re.findall(r"<title>(\w+): ", drawn) == ["concat", "gated"]


def test_a_cells_page_has_its_search_its_refits_and_where_it_is_from(site: Site) -> None:
    gated = next(content for path, content in site.items() if path.startswith("cells/a-gated-"))
    text = " ".join(Page(gated).text.split())
    for said in ("gated", "4 trials", "loss became NaN", "pruned", "width", "64", "32", "predictions, SHA-256"):
        assert said in text
    for said in ("processor unknown", "suite's hash x", "latency of one row, median, ms 1.25", "its licence MIT"):
        assert said in text


def test_every_link_leads_to_a_file_or_a_place_on_its_page(site: Site) -> None:
    for path, page in pages(site).items():
        assert len(page.ids) == len(set(page.ids))
        for link in page.links:
            file, _, place = link.partition("#")
            parts: list[str] = []
            for part in (*PurePosixPath(path).parent.parts, *PurePosixPath(file).parts):
                parts = parts[:-1] if part == ".." else [*parts, part]
            target = "/".join(parts) if file else path
            assert target in site, (path, link)
            if place:
                assert place in Page(site[target]).ids, (path, link)


def test_nothing_is_asked_of_anyone(site: Site) -> None:
    for path, content in site.items():
        if path.endswith(".html"):
            text = content.decode()
            assert not re.search(r"""(src|srcset|action|data|poster)\s*=|@import|url\(|//(?!www\.w3\.org)[a-z]""", text)
            style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
            script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)
            assert style is not None
            assert script is not None
            hashes = [b64encode(hashlib.sha256(m[1].encode()).digest()).decode() for m in (style, script)]
            policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
            assert policy is not None
            assert policy[1].replace("&#39;", "'") == (
                f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
                "base-uri 'none'; form-action 'none'"
            )
            assert " style=" not in text
            assert not re.search(r"<[^>]*\son[a-z]+=", text)


def test_the_downloads_are_the_rows_in_full(site: Site) -> None:
    board = json.loads(site["data/leaderboard.json"])
    assert board["run"] == "small"
    found = list(csv.DictReader(io.StringIO(site["data/leaderboard.csv"].decode())))
    assert [row["contender"] for row in found] == [row["contender"] for row in board["rows"]]
    assert {row["status"] for row in found} >= {"ok", "error", "skipped"}


def test_the_seal_is_offered_as_it_is(make: Make, cells: list[dict[str, Any]]) -> None:
    made = make(cells, seals={"small/seal.json": b"sealed", "small/seal.json.sig": b"signed"})
    found = {content: path for path, content in made.items()}
    assert re.fullmatch(r"data/small-[0-9a-f]{10}\.seal\.json", found[b"sealed"])
    assert re.fullmatch(r"data/small-[0-9a-f]{10}\.seal\.json\.sig", found[b"signed"])
    assert found[b"sealed"] in Page(made["index.html"]).links


def test_the_manifest_lists_all_of_it(site: Site) -> None:
    manifest = json.loads(site["manifest.json"])
    assert manifest["files"] == {
        path: hashlib.sha256(content).hexdigest() for path, content in site.items() if path != "manifest.json"
    }


def test_the_same_run_gives_the_same_bytes(make: Make, cells: list[dict[str, Any]], tmp_path: Path) -> None:
    first = make(cells)
    (tmp_path / "results").rename(tmp_path / "before")
    assert make(cells) == first


def test_a_run_that_has_nothing_to_show_is_no_error(make: Make) -> None:
    failed = {"task": "a", "contender": "broken", "status": "error", "reason": "loss became NaN"}
    assert "broken" in Page(make([failed])["index.html"]).text


def test_figures_that_are_no_numbers_are_dashes(make: Make) -> None:
    odd = {"latency_ms_p50": "fast", "parameters": [1], "peak_memory_bytes": True, "throughput": float("inf")}
    cells = [
        {"task": "a", "contender": name, "tuned": [0.5], "cost": odd, "spent": {"trials": "many", "seconds": "few"}}
        for name in ("one", "other")
    ]
    assert "fast" not in Page(make(cells)["index.html"]).text


def test_of_very_many_trials_the_best_are_listed_and_the_page_says_so(make: Make) -> None:
    found = {"a/gated": [trial(number, number / 1000) for number in range(900)]}
    cell = {"task": "a", "contender": "gated", "tuned": [0.5]}
    made = make([cell], trials=found)
    page = Page(next(content for path, content in made.items() if path.startswith("cells/")))
    assert "900 trials, the best 400 of them" in " ".join(page.text.split())


def test_a_pruned_trial_is_drawn_where_it_came_to_and_not_as_failed(make: Make) -> None:
    """A search stores no score of it, but its curve."""
    pruned = trial(1, None, status="pruned", reason="not in the better half", curve=(0.4, 0.6, 0.55), epochs=3)
    found = {"a/gated": [trial(0, 0.5), pruned, trial(2, 0.7), trial(3, None)]}
    made = make([{"task": "a", "contender": "gated", "tuned": [0.5]}], trials=found)
    page = next(content for path, content in made.items() if path.startswith("cells/")).decode()
    assert page.count('class="cross"') == 1
    assert "<title>trial 1: .600, pruned</title>" in page
    learning = page.split('aria-label="accuracy on validation by epoch"')[1].split("</svg>")[0]
    assert learning.count("<polyline") == 3
    assert re.findall('class="best".*?<title>(.*?)</title>', learning) == ["trial 2: .700"]
    listed = " ".join(Page(page.encode()).text.split())
    assert "1 .600 3 1s pruned: not in the better half" in listed


def test_sorting_shows_the_best_first(make: Make) -> None:
    cells = [
        {"task": metric, "contender": "gated", "tuned": [0.5, 0.6], "metric": metric}
        for metric in ("accuracy", "distance")
    ]
    page = make(cells)["index.html"].decode()
    found = dict(re.findall(r'data-sort="(.)">(accuracy|distance)</th>', page)[place][::-1] for place in (0, 1))
    assert found == {"accuracy": "1", "distance": "0"}
    assert re.findall(r'data-sort="(.)">default</th>', page) == ["1", "0"]


def test_a_screen_reader_hears_each_interval_once(site: Site) -> None:
    """In words; the figures in brackets beside the drawing are for the eye."""
    (row,) = re.findall(
        r"<tr[^>]*>(?:(?!</tr>).)*>gated<.*?</tr>", site["index.html"].decode().split("<h2>a<")[1], re.DOTALL
    )[:1]
    heard = re.sub(r'<td[^>]*aria-hidden="true".*?</td>', "", row, flags=re.DOTALL)
    labels = re.findall('aria-label="(.*?)"', heard)
    assert len(labels) == 2
    assert all(re.fullmatch(r"95% interval [+]?[.]\d+ to [+]?[.]\d+", label) for label in labels)
    assert "[" not in heard
    assert row.count("[") == 2


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    digits = colour.removeprefix("#")
    digits = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_every_colour_of_text_can_be_read() -> None:
    """By day, by night and on paper; 4.5 to 1 for text, 3 to 1 for what is drawn, on the page and on a row in hand."""
    style = (TEMPLATES / "style.css").read_text("utf-8")
    themes = [
        dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    assert len(themes) == 3
    texts, drawn = set(), set()
    for selector, body in re.findall(r"([^{}]+)\{([^{}]*)\}", style):
        texts |= set(re.findall(r"(?<![\w-])color: var\(--([\w-]+)\)", body))
        found = set(re.findall(r"(?:fill|stroke): var\(--([\w-]+)\)", body))
        if re.search(r"svg( text|\.axis text|.*\.name|.*\.label)", selector):
            texts |= found - {"paper"}  # names have an edge of the paper's colour
        elif re.search(r"\.(dot|interval(?!\.)|on|beyond|cross)\b", selector):
            drawn |= found
    assert {"ink", "soft", "accent", "less"} <= texts
    assert "faint" in drawn
    for theme in themes:
        for ground in ("paper", "wash"):
            assert {name for name in texts if contrast(theme[name], theme[ground]) < 4.5} == set()
            assert {name for name in drawn if contrast(theme[name], theme[ground]) < 3} == set()
