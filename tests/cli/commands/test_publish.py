"""`mmbench publish` on a real run: the site is whole, the same again, and checked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Type = Callable[..., Any]
Toy = Callable[[str], Path]


def held(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_a_site_of_a_real_run(mmbench: Type, toy: Toy) -> None:
    run = toy("toy")
    answer = mmbench("publish", "toy")
    assert (answer.code, answer.err) == (0, "")
    assert "open site/index.html" in answer.out
    site = held(Path("site"))
    pages = [path for path in site if path.startswith("cells/")]
    assert len(pages) == 5
    index = site["index.html"].decode()
    for said in ("concat", "only left", "majority", "raises", "this fusion always raises"):
        assert said in index
    concat = next(site[path].decode() for path in pages if path.startswith("cells/toy-concat-"))
    assert "3 trials" in concat
    assert "<polyline" in concat
    assert "libraries" in concat
    assert str(run.resolve()) not in index, "no path of this machine"
    assert json.loads(site["data/leaderboard.json"])["run"] == "toy"
    if (run / "seal.json").exists():
        assert (run / "seal.json").read_bytes() in site.values()


def test_the_same_again_and_checked(mmbench: Type, toy: Toy) -> None:
    run = toy("toy")
    assert mmbench("publish", "toy", "--to", "a").code == 0
    assert mmbench("publish", "toy", "--to", "b").code == 0
    assert held(Path("a")) == held(Path("b"))
    assert mmbench("publish", "toy", "--to", "a").code == 0, "over itself"
    fine = mmbench("publish", "toy", "--to", "a", "--check")
    assert (fine.code, fine.out) == (0, "up to date\n")

    Path("a/index.html").write_text("edited")
    Path("b/data/leaderboard.csv").unlink()
    for place, said in (
        ("a", f"changed: {Path.cwd()}/a/index.html\n"),
        ("b", f"missing: {Path.cwd()}/b/data/leaderboard.csv\n"),
    ):
        answer = mmbench("publish", "toy", "--to", place, "--check")
        assert (answer.code, answer.out) == (1, said)
    assert Path("a/index.html").read_text() == "edited", "a check writes nothing"
    assert mmbench("publish", "toy", "--to", "nowhere", "--check").code == 1

    assert mmbench("publish", "toy", "--to", "c").code == 0
    for form, name in (("markdown", "leaderboard.md"), ("csv", "leaderboard.csv"), ("latex", "leaderboard.tex")):
        assert mmbench("leaderboard", "toy", "--format", form, "-o", str(run / name)).code == 0
    assert mmbench("publish", "toy", "--to", "c", "--check").code == 0, "the tables beside the records are current"
    (run / "leaderboard.md").write_text("| mine | .999 |\n")
    answer = mmbench("publish", "toy", "--to", "c", "--check")
    assert (answer.code, answer.out) == (1, "changed: results/toy/leaderboard.md\n")


def test_a_folder_that_is_something_else(mmbench: Type, toy: Toy) -> None:
    toy("toy")
    Path("thesis").mkdir()
    Path("thesis/chapter.tex").write_text("years")
    answer = mmbench("publish", "toy", "--to", "thesis")
    assert answer.code == 2
    assert "no site that mmbench wrote; give another --to" in answer.err
    assert mmbench("publish", "toy", "--to", ".").code == 2
    assert mmbench("publish", "toyy").code == 2
    assert held(Path("thesis")) == {"chapter.tex": b"years"}
