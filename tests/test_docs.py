"""The documentation says what is so: its code runs, its reference is complete, its command help is fresh."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmbench import plugins
from mmbench.cli.app import call
from mmbench.store.suiteform import TABLES

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
AROUND = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/notebook/speed.md")
PAGES = [*(ROOT / name for name in AROUND), *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^```\w+ (\S+)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


def write_blocks(page: Path, folder: Path) -> list[Path]:
    """Write each block that is headed by a file's name to that file."""
    written = []
    for name, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        written.append(folder / name)
        written[-1].write_text(text, encoding="utf-8")
    return written


def test_the_tutorial_s_code_passes_its_own_tests(tmp_path: Path) -> None:
    names = {path.name for path in write_blocks(DOCS / "writing-a-fusion.md", tmp_path)}
    assert names == {"my_fusion.py", "test_my_fusion.py", "my_attention.py"}
    (tmp_path / "test_my_attention.py").write_text(
        "from mmbench.testing.fusion import FusionContract\nfrom my_attention import Attention\n\n\n"
        "class TestAttention(FusionContract):\n    part = Attention\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    done = subprocess.run([sys.executable, "-m", "pytest", "-q"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_tutorial_s_fusions_get_onto_the_leaderboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_blocks(DOCS / "writing-a-fusion.md", tmp_path)
    write_blocks(ROOT / "README.md", tmp_path)
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))
    files = [tmp_path / name for name in ("my_fusion.py", "my_attention.py", "scaled.py")]
    sources = [word for file in [ROOT / "tests/toys.py", *files] for word in ("--plugin", str(file))]
    wanted = [word for name in ("mine", "my_attention", "scaled") for word in ("--contender", name)]
    suite, results = str(ROOT / "tests/toy.toml"), str(tmp_path / "results")
    code = call(["run", suite, *sources, *wanted, "--trials", "2", "--results", results, "--workers", "2"])
    printed = capsys.readouterr()
    assert code == 0, printed.out + printed.err
    board = printed.out.split("next:")[0]
    for name in ("mine", "my_attention", "scaled"):
        assert re.search(rf"\b{name}\b.*\d\.\d", board), printed.out


def test_every_key_of_a_suite_is_documented() -> None:
    page = (DOCS / "suites.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## `(.*?)`.*?\n(.*?)(?=^## |\Z)", page, flags=re.MULTILINE | re.DOTALL))
    titles = {(): "top", ("budget",): "[budget]", ("task",): "[[task]]", ("contender",): "[[contender]]"}
    titles[("task", "corruptions")] = "[[task.corruption]]"
    for table, form in TABLES.items():
        documented = set(re.findall(r"^\| `(\w+)` \|", sections[titles[table]], flags=re.MULTILINE))
        tables = {"budget", "task", "contender", "corruptions"}
        assert documented == set(form.model_fields) - tables, titles[table]


def test_every_data_set_is_listed_with_its_modalities() -> None:
    page = (DOCS / "suites.md").read_text(encoding="utf-8").partition("## Data sets that come with mmbench")[2]
    listed = {}
    for names, modalities, target in re.findall(r"^\| (`.*?) \| (.*?) \| (.*?) \|", page, flags=re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            found = re.findall(r"(\d*) ?(table|text|series|image|audio)", modalities)
            listed[name] = sorted(kind for count, kind in found for _ in range(int(count or 1))), target.split()[-1]
    ours = {p.name: p for p in plugins.load().datasets.values() if type(p).__module__.startswith("mmbench_data")}
    words = {"label": "classes", "labels": "labels", "number": "number", "text": "text", "match": "matching"}
    assert listed == {
        name: (sorted(kind.replace("tabular", "table") for kind in part.columns.values()), words[part.target.type])
        for name, part in ours.items()
    }


def test_the_suites_on_the_page_are_suites(tmp_path: Path) -> None:
    from mmbench.engine import plan
    from mmbench.store import suitefile

    for page in ("suites.md", "guides/your-models.md"):
        for written in write_blocks(DOCS / page, tmp_path):
            suite = suitefile.read(written)
            assert plan.make(suite, plugins.load().with_own(suite.own, suite.encoders)).cells


def test_the_command_help_is_fresh() -> None:
    made = subprocess.run([sys.executable, DOCS / "command_line.py"], capture_output=True, text=True, check=True)
    stale = "docs/command-line.md is stale: python docs/command_line.py > docs/command-line.md"
    assert made.stdout == (DOCS / "command-line.md").read_text(encoding="utf-8"), stale


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", prose):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_on_a_page_parse(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each `mmbench ...` line names a command and options that are there."""
    for line in re.findall(r"^(?:    )?(mmbench .*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        words = line.partition("#")[0].split()
        assert call([words[1], "--help"]) == 0, line
        known = capsys.readouterr().out
        for option in re.findall(r"(?<= )--[\w-]+", " ".join(words[2:])):
            assert option in known, line


def test_no_page_names_this_machine() -> None:
    for page in PAGES:
        assert f"{Path.home()}/" not in page.read_text(encoding="utf-8")


def test_the_figures_of_speed_stand_in_the_notebook() -> None:
    """The page rounds: a ratio is one of the notebook or the inverse of one, and a commit is one of its commits."""
    page, notebook = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("docs/speed.md", "benchmarks/notebook/speed.md")
    )
    measured = [float(number) for number in re.findall(r"(\d+\.?\d*)x", notebook)]
    measured += [1 / number for number in measured if number]
    rows = re.findall(r"^\| (?!time|---)[^|]*\|(.*)\|$", page, flags=re.MULTILINE)
    ratios = [cell.strip() for row in rows for cell in row.split("|") if re.fullmatch(r"\d+(\.\d+)?", cell.strip())]
    assert len(ratios) > 20
    for ratio in ratios:
        digits = len(ratio.partition(".")[2])
        assert any(round(number, digits) == float(ratio) for number in measured), ratio
    for commit in re.findall(r"\b(?=[0-9a-f]*\d)[0-9a-f]{7,10}\b", page):
        assert commit in notebook, commit
