"""Records as an attacker would write them: whatever a name, a reason or a parameter holds, it is only ever text."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mmbench.board.site import names
from mmbench.store.reading import RunData
from tests.board.site.conftest import Make, Site

EVIL = {
    "a script": "<script>alert(1)</script>",
    "an end of the script": "</script><script>alert(1)</script>",
    "an end of the title": "</title></svg><img src=x onerror=alert(1)>",
    "quotes that end an attribute": '" onmouseover="alert(1)" x="\' onclick=\'alert(1)',
    "an entity": "&lt;script&gt;alert(1)&#60;/script>",
    "a template": "{{ 7 * 7 }}{% raw %}${7*7}",
    "a comment": "<!-- --> <![CDATA[ x ]]> <?php ?>",
    "what a terminal obeys": "x\x1b]0;owned\x07\x1b[2J\x9b31m",
    "control characters": "a\x00b\r\nc\x0b\x85d\u2028e\ufeff",
    "another direction": "abc\u202egnp.exe\u2066\u200f\u061c",
    "a very long name": "n" * 5000,
    "a style": "</style><style>*{display:none}</style>",
}
HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")


class Structure(HTMLParser):
    """The tags of a page and the names of their attributes: what acts."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.links: list[str] = []
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attrs)))
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment", data))

    def handle_pi(self, data: str) -> None:
        self.tags.append(("instruction", data))


def cells(text: str) -> Iterator[dict[str, Any]]:
    """The same cells with `text` in every place that a record has for text."""
    both = {"modalities": {text: "image", "other": "text"}}
    curves = {text: [(0.0, 0.8), (1.0, 0.2)]}
    parts = {f"fusion.{text}": text}
    names_ = ("mmbench", "engine", "commit", "python", "processor", "device")
    environment = {**dict.fromkeys(names_, text), "libraries": {text: text}}
    dataset = {"name": text, "fingerprint": text, "licence": text, "rows": {text: 1, "test": 200}}
    cost = {"latency_ms_p50": 1.0, "parameters": 10, "prepare_ms": {text: text}, "device": text, "threads": text}
    common = {"environment": environment, "dataset": dataset, "parts": parts, "space_hash": text, "curves": curves}
    common |= {"params": {text: text}, "default_params": {text: "default"}, "budget": {text: text}}
    yield {"task": "a", "contender": text, "tuned": [0.8, 0.8], "cell": "a/first", "cost": cost, **both, **common}
    cheaper = {**cost, "latency_ms_p50": 0.5, "parameters": 5}
    single = {"modalities": {"other": "text"}, "cell": "a/gated"}
    yield {"task": "a", "contender": "other", "tuned": [0.5, 0.5], "cost": cheaper, **single, **common}
    yield {"task": "b", "contender": text, "tuned": [0.8, 0.8], "cell": "b/first", "cost": cost, **both, **common}
    yield {"task": "b", "contender": "other", "tuned": [0.5, 0.5], "cell": "b/gated", "cost": cost, **both, **common}
    yield {"task": "a", "contender": f"{text}!", "status": "error", "reason": text, **common}


def acting(site: Site) -> list[list[tuple[str, ...]]]:
    """What acts on each page, in an order that does not depend on the pages' names."""
    return sorted(Structure(content).tags for path, content in site.items() if path.endswith(".html"))


@pytest.mark.parametrize("what", EVIL)
def test_text_stays_text(make: Make, what: str, tmp_path: Path) -> None:
    """Page by page the same tags with the same attributes, whether names are words or an attack."""
    text = EVIL[what]
    harmless = acting(make(list(cells("harmless")), run="harmless"))
    (tmp_path / "results/small").rename(tmp_path / "results/harmless")
    made = make(list(cells(text)), run=text, sources={f"fusion.{text}": text})
    assert acting(made) == harmless
    for path, content in made.items():
        assert re.fullmatch(r"(cells/|data/)?[a-z0-9][a-z0-9.-]{0,99}", path), path
        if not path.endswith(".html"):
            continue
        assert not HIDDEN.search(content.decode().replace("\n", " ")), path
        page = Structure(content)
        assert all(re.fullmatch(r"[a-z0-9./-]*(#[a-z0-9-]+)?", link) for link in page.links), page.links
        assert not [tag for tag in page.tags if any(name.startswith("on") for name in tag[1:])]


def test_half_a_surrogate_is_written_out(make: Make) -> None:
    """No store gives one, but whoever reads a record by other means may."""

    def change(run: RunData) -> RunData:
        return replace(run, records=[replace(record, contender="x\ud800y", reason="\udfff") for record in run.records])

    made = make([{"task": "a", "contender": "x", "tuned": [0.8]}], change=change)
    assert b"x\\xd800y" in made["index.html"]
    assert json.loads(made["data/leaderboard.json"])["rows"][0]["contender"] == "x\ud800y"


@pytest.mark.parametrize(
    ("source", "leads"),
    [
        ("https://example.org/paper", "https://example.org/paper"),
        ("10.1109/ICPR.2010.764", "https://doi.org/10.1109/ICPR.2010.764"),
        ("arXiv:1702.01992", "https://arxiv.org/abs/1702.01992"),
        ("1702.01992v3", "https://arxiv.org/abs/1702.01992"),
        ("javascript:alert(1)", None),
        ("JaVaScRiPt:alert(1)", None),
        (" javascript:alert(1)", None),
        ("java\nscript:alert(1)", None),
        ("data:text/html,<script>alert(1)</script>", None),
        ("//example.org", None),
        ('https://example.org/" onclick="alert(1)', None),
        ("https://good.org@evil.org/", None),
        ("http://[::1", None),
        ("file:///etc/passwd", None),
        ("Rheude et al. 2025", None),
        ("", None),
    ],
)
def test_only_a_plain_address_is_a_link(source: str, leads: str | None) -> None:
    assert names.address(source) == leads


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "a/b", "C:\\x", "con", "", "\x00", "é" * 300, ".hidden"])
def test_a_file_name_is_never_a_path(name: str) -> None:
    made = names.file_name("task", name, suffix=".html")
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,80}\.html", made)


def test_names_that_read_the_same_have_files_of_their_own() -> None:
    alike = [("a b", "c"), ("a", "b c"), ("A", "b c"), ("a", "b", "c"), ("a", "b_c")]
    assert len({names.file_name(*pair, suffix=".html") for pair in alike}) == len(alike)
