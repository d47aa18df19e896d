"""What `verify` says of an honest run, of the published one, and of files that hold nonsense."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mmbench import plugins
from mmbench.plugins import Shelf
from mmbench.trust import seal
from mmbench.trust.verify import verify

if TYPE_CHECKING:
    from tests.trust.conftest import Examine, Forger

STARTER = Path(__file__).parents[2] / "results" / "published" / "starter"
TRIALS, RECORDS = "trials.jsonl", "records.jsonl"


def test_an_honest_run_is_clean(honest: Path, examine: "Examine") -> None:
    report = examine(honest)
    assert report.findings == []
    rows = [json.loads(line) for name in (TRIALS, RECORDS) for line in (honest / name).read_text().splitlines()]
    kinds = [row["kind"] for row in rows]
    refits = [row["row"] for row in rows if row["kind"] == "refit"]
    scores = sum(len(r["metrics"]) + sum(map(len, r["curves"].values())) for r in refits)
    assert report.counts == {
        "trials": kinds.count("trial"),
        "refits": kinds.count("refit"),
        "records": 3,
        "scores": scores,
        "replays": kinds.count("trial"),
    }
    assert any(refit["curves"] for refit in refits), "curves are among what was recomputed"
    assert report.plan is not None
    assert report.seal == hashlib.sha256((honest / "seal.json").read_bytes()).hexdigest()
    assert examine(honest, published=report.seal[:20]).clean
    assert examine(honest, registered=report.plan).clean


def test_the_published_run_is_clean() -> None:
    report = verify(STARTER, plugins.load())
    assert report.findings == []
    counts = report.counts
    assert counts["records"] == 46
    assert counts["scores"] == 9 * counts["refits"]  # nine metrics of a label
    assert "there is no seal" not in " ".join(report.notes)


def test_a_metric_whose_plugin_is_missing_is_said(honest: Path, catalog: Any) -> None:
    fewer = {name: part for name, part in catalog.metrics.items() if name != "ece"}
    without = replace(catalog, metrics=Shelf("metric", fewer, {name: catalog.metrics.origins[name] for name in fewer}))
    told = {str(finding) for finding in verify(honest, without).findings}
    assert any("ece can't be recomputed: no plugin here has the metric 'ece'" in line for line in told)


def test_a_run_without_a_suite_still_tells_of_its_chain(forger: "Forger", examine: "Examine") -> None:
    (forger.folder / "suite.toml").write_text("name = ")
    lines = forger.lines(TRIALS)
    forger.replace(TRIALS, [lines[0].replace(b"0.", b"1.", 1), *lines[1:]])
    checks = {finding.check for finding in examine(forger.folder).findings}
    assert {"suite", "chain", "seal"} <= checks


@pytest.mark.parametrize(
    "junk", [b"", b"[]", b"{}", b"\xff\xfe", b'{"schema": 1, "chains": [], "files": {}}', b"[" * 9999]
)
def test_a_seal_of_nonsense_is_a_finding(forger: "Forger", examine: "Examine", junk: bytes) -> None:
    (forger.folder / "seal.json").write_bytes(junk)
    found = [f for f in examine(forger.folder).findings if f.check == "seal"]
    assert "is no seal that mmbench wrote" in str(found)


@pytest.mark.parametrize("name", ["plan.jsonl", TRIALS, RECORDS])
@pytest.mark.parametrize("junk", [b"junk\n", b"{}\n", b"\x00" * 100, b'{"seq":0,"kind":"trial","row":{'])
def test_lines_of_nonsense_are_findings(forger: "Forger", examine: "Examine", name: str, junk: bytes) -> None:
    lines = forger.lines(name)
    forger.replace(name, [*lines[:-1], junk, lines[-1]])
    assert any(f.check == "chain" and str(f).startswith(name) for f in examine(forger.folder).findings)


def test_the_seal_depends_on_content_alone(honest: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(honest, tmp_path / "another name"))
    assert seal.compute(copy) == (honest / "seal.json").read_bytes()
