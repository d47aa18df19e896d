"""Parts that say evil things, in a real run on a real terminal; and the rules that keep our own code from harm."""

import ast
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mmbench import plugins
from mmbench.api.carrier import Carrier
from mmbench.errors import DataError, PluginError

ROOT = Path(__file__).parents[2]
EVIL_PLUGIN = '''
import mmbench as mb

EVIL = {evil!r}

class Evil(mb.Fusion):
    """Raises what a terminal would obey."""
    name = "evil"
    def build(self, inputs, width, params):
        raise RuntimeError("reached " + EVIL + "=1+1")

@mb.hookimpl
def mmbench_fusions():
    return [Evil]
'''
SUITE = """
name = "evil"
[budget]
trials = 1
batch = 1
epochs = 1
refit_seeds = 1
[[task]]
dataset = "toy"
metric = "accuracy"
[[contender]]
name = "evil"
fusion = "evil"
"""
OWN = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]|\r|\x1b\]8;[^\x07]*\x07(?!x)")


def test_an_error_never_acts_on_the_terminal(tmp_path: Path, evil: str) -> None:
    """`mmbench run` draws its live board, the failure and the table to a pseudo-terminal."""
    (tmp_path / "evil.py").write_text(EVIL_PLUGIN.format(evil=evil))
    (tmp_path / "evil.toml").write_text(SUITE)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "mmbench", "run", "evil.toml", "--workers", "1"]
    command += ["--plugin", "evil.py", "--plugin", str(ROOT / "tests" / "toys.py")]
    environment = {**os.environ, "MMBENCH_CACHE": str(tmp_path / "cache"), "TERM": "xterm-256color", "COLUMNS": "100"}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    drawn = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other side is closed: the process is at its end
            break
        drawn += part
    assert process.wait(timeout=60) == 1
    assert b"reached" in drawn
    assert b"\x1b[2J" not in drawn, "the screen is not cleared"
    assert b"\x1b]8" not in drawn, "no link is made"
    text = OWN.sub(b"", drawn).decode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202e\u2066]", text), text


@pytest.mark.parametrize("name", ["../x", "a b", "A", "\u0441oncat", "x" * 200, "", "a\n", "\x1b", 7, "a-b", "\uff41"])
def test_a_part_with_such_a_name_is_refused(tmp_path: Path, name: Any) -> None:
    """Among them a Cyrillic letter that looks like ours: two contenders that seem to be one."""
    content = EVIL_PLUGIN.format(evil="").replace('name = "evil"', f"name = {name!r}")
    (tmp_path / "odd.py").write_text(content)
    with pytest.raises(PluginError, match="needs a name"):
        plugins.load([str(tmp_path / "odd.py")])


@pytest.mark.parametrize("field", ["package", "version", "filename"])
@pytest.mark.parametrize("word", ["../x", "/x", "--index-url=http://x", "a b", "a\x00", "", ".", "a/b", "x" * 300])
def test_a_carrier_that_is_no_word_is_refused(field: str, word: str) -> None:
    """It becomes a file's name, and a word of pip's command line."""
    fields: dict[str, Any] = {"package": "a", "version": "1", "filename": "a-1.whl", field: word}
    if field == "filename" and not word:
        return  # it is then made of the other two
    with pytest.raises(DataError, match="a name begins with"):
        Carrier(sha256="", size=0, licence="", **fields)


def test_weights_that_an_encoder_could_not_read_are_said_at_once(tmp_path: Path) -> None:
    content = """
import mmbench as mb
from mmbench.api.carrier import Carrier

class Loads(mb.Encoder):
    name = "loads"
    kind = "text"
    carriers = (Carrier("a", "1", "", 0, "MIT"),)

@mb.hookimpl
def mmbench_encoders():
    return [Loads]
"""
    (tmp_path / "loads.py").write_text(content)
    with pytest.raises(PluginError, match='needs holds="weights"'):
        plugins.load([str(tmp_path / "loads.py")])


CODE = sorted([*(ROOT / "mmbench").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])
UNPICKLES = {
    "pickled.py",  # through an unpickler that lets arrays pass and nothing else
    "measure.py",  # writes one, to weigh an estimator; reads none
    "frames.py",  # reads data frames by an unpickler that knows what they are made of, and nothing else
    "scoring.py",  # what the run itself sends to the process that scores for it; the answers are JSON
}


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_our_code_loads_nothing_blindly(path: Path) -> None:
    """No pickle, no eval, no shell; torch.load with weights_only, numpy.load without pickles."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            assert path.name in UNPICKLES or not {"pickle", "marshal", "shelve", "dill", "joblib"} & set(names), path
        if isinstance(node, ast.Call):
            given = {word.arg: word.value for word in node.keywords}
            called = ast.unparse(node.func)
            assert called not in ("eval", "exec", "os.system", "os.popen"), (path, node.lineno)
            if called == "torch.load":
                assert ast.unparse(given["weights_only"]) == "True", (path, node.lineno)
            assert not ("allow_pickle" in given and ast.unparse(given["allow_pickle"]) != "False"), (path, node.lineno)
            assert not ("shell" in given and ast.unparse(given["shell"]) != "False"), (path, node.lineno)
            remote = given.get("trust_remote_code", ast.Constant(False))
            assert ast.unparse(remote) == "False", (path, node.lineno)
