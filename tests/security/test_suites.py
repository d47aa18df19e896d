"""Suite files as a stranger would write them, through the real commands: one line, exit 2, nothing written."""

import time
from pathlib import Path
from typing import Any

import pytest

GOOD = """
name = "good"
[[task]]
dataset = "uci_mfeat"
metric = "accuracy"
[[contender]]
name = "concat"
fusion = "concat"
"""
TASK, CONTENDER = GOOD.split("[[contender]]")
CONTENDER = "[[contender]]" + CONTENDER
BAD = {
    "run up": GOOD.replace('"good"', '"../good"'),
    "absolute": GOOD.replace('"good"', '"/tmp/good"'),
    "dots": GOOD.replace('"good"', '".."'),
    "hidden": GOOD.replace('"good"', '".ssh"'),
    "null": GOOD.replace('"good"', '"a\\u0000b"'),
    "escape": GOOD.replace('"good"', '"a\\u001b[31mb"'),
    "turned": GOOD.replace('"good"', '"a\\u202eb"'),
    "lookalike": GOOD.replace('"good"', '"g\\u043eod"'),  # a Cyrillic o
    "wide": GOOD.replace('"good"', '"\\uff47ood"'),
    "long": GOOD.replace('"good"', '"' + "a" * 101 + '"'),
    "empty": GOOD.replace('"good"', '""'),
    "contender up": GOOD.replace('name = "concat"', 'name = "../../x"'),
    "task up": GOOD.replace("[[task]]", '[[task]]\nname = "../../x"'),
    "unknown dataset": GOOD.replace('"uci_mfeat"', '"../../etc/passwd"'),
    "unknown fusion": GOOD.replace('fusion = "concat"', 'fusion = "\\u001b[2J"'),
    "twins": GOOD + CONTENDER,
    "trials": GOOD + "[budget]\ntrials = 1000000000000\n",
    "epochs": GOOD + "[budget]\nepochs = 0x" + "f" * 4000 + "\n",
    "digits": GOOD + "[budget]\ntrials = " + "9" * 5000 + "\n",
    "exponent": GOOD + "[budget]\ntrial_seconds = 1e400\n",
    "nan": GOOD + "[budget]\ntrial_seconds = nan\n",
    "minus": GOOD + "[budget]\ntrials = -1\n",
    "seed": GOOD.replace('name = "good"', 'name = "good"\nseed = 0x' + "f" * 10_000),
    "limit": GOOD.replace('name = "good"', 'name = "good"\nlimit = 0'),
    "deep lists": GOOD + "x = " + "[" * 9000 + "]" * 9000,
    "deep tables": GOOD + "[contender.params]\n" + ".".join("a" * 4000) + " = 1\n",
    "deep tables, many": GOOD + "".join(f"k{i}." + ".".join("a" * 4000) + " = 1\n" for i in range(50)),
    "deep tables in a line": GOOD + "".join(f"k{i} = {{ 'a' . " + "'a' . 1." * 1200 + "a = 1 }\n" for i in range(70)),
    "deep inline": GOOD + "x = " + "{a=" * 4000 + "1" + "}" * 4000,
    "many keys": GOOD + "[contender.params]\n" + "".join(f"k{i} = 1\n" for i in range(20_000)),
    "many cells": 'name = "x"\n'
    + "".join(f'[[task]]\nname = "t{i}"\ndataset = "uci_mfeat"\nmetric = "accuracy"\n' for i in range(400))
    + "".join(f'[[contender]]\nname = "c{i}"\nfusion = "concat"\n' for i in range(400)),
    "big string": GOOD.replace('name = "good"', 'name = "good"\ndescription = "' + "x" * 19_000 + '"'),
    "big file": "# " + "x\n# " * 400_000,
    "huge param": GOOD + "[contender.params]\n'fusion.concat.x' = 0x" + "f" * 2000 + "\n",
    "nan param": GOOD + "[contender.params]\n'fusion.concat.x' = nan\n",
    "unknown param": GOOD + "[contender.params]\n'fusion.concat.\\u001b[0m' = 1\n",
    "long key": GOOD + "x" * 19_000 + " = 1\n",
    "long name": GOOD.replace('"uci_mfeat"', '"' + "a" * 19_000 + '"'),
    "severities": TASK + '[[task.corruption]]\nname = "noise"\nmodality = "x"\nseverities = [nan]\n' + CONTENDER,
    "date": GOOD.replace('"good"', "1979-05-27T07:32:00Z"),
    "not text": "\ud800",
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_suite_is_one_line(mmbench: Any, tmp_path: Path, case: str) -> None:
    """Of plan, which checks all that run checks; within seconds, and without a file made."""
    (tmp_path / "bad.toml").write_bytes(BAD[case].encode(errors="surrogatepass"))
    started = time.process_time()
    answer = mmbench("plan", "bad.toml")
    assert answer.code == 2, answer.out
    assert "bad.toml" in answer.err or "unknown" in answer.err or "parameter" in answer.err
    assert time.process_time() - started < (2 if "deep" in case else 5)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.toml"]


def test_the_good_one_is_good(mmbench: Any, tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(GOOD)
    assert mmbench("plan", "good.toml").code == 0


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/b", "..", "", "a\x1b[31m", "x" * 200, "CON\x00"])
def test_a_run_name_leads_nowhere(mmbench: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "good.toml").write_text(GOOD)
    answer = mmbench("run", "good.toml", "--name", name, "--quiet") if name else mmbench("run", "", "--quiet")
    assert answer.code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["good.toml"]


@pytest.mark.parametrize(
    "options",
    [
        ["--trials", "1000000000000"],
        ["--trials", "9" * 5000],
        ["--limit", "-1"],
        ["--seed", "99999999999999999999"],
        ["--workers", "1000000000"],
        ["--task", "\x1b[2J"],
        ["--contender", "\u202e"],
        ["--device", "\x1b[2J"],
        ["--device", "cuda:" + "9" * 400],
        ["--plugin", "\x1b[2J.py"],
        ["--plugin", "no_such_module\x1b[2J"],
    ],
    ids=lambda words: words[0] + words[1][:5].encode("unicode_escape").decode(),
)
def test_an_option_is_bounded_too(mmbench: Any, tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "good.toml").write_text(GOOD)
    answer = mmbench("run", "good.toml", "--quiet", *options)
    assert answer.code == 2, answer
    assert [path.name for path in tmp_path.iterdir()] == ["good.toml"]


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "device"])
def test_a_suite_that_is_no_file(mmbench: Any, tmp_path: Path, kind: str) -> None:
    import os

    path = tmp_path / "suite.toml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "folder":
        path.mkdir()
    else:
        path = Path("/dev/zero")
    assert mmbench("plan", str(path)).code == 2
