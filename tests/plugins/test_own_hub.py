"""Data of a hub, by the real client against a small server on loopback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmbench_own.dataset import make

from mmbench.errors import DataError
from tests.plugins.hub import COMMIT, NAME, served

SUITE = f"""
name = "hub"
[[task]]
name = "birds"
metric = "accuracy"
[task.data]
hub = "{NAME}"
revision = "{COMMIT}"
[task.data.columns]
text = "text"
[task.data.target]
label = "kind"
[task.data.split]
validation = 0.25
[[contender]]
name = "concat"
fusion = "concat"
"""


def test_a_hub_that_can_t_be_reached_is_said_in_one_line(tmp_path: Path) -> None:
    from datasets import config

    assert config.HF_HUB_OFFLINE  # as tests/conftest.py has it
    table = {"hub": NAME, "revision": COMMIT, "columns": {"text": "text"}, "target": {"label": "kind"}}
    with pytest.raises(DataError, match=rf"^data of 'birds': hub '{NAME}' at {COMMIT[:12]}: .+") as caught:
        make("birds", table, tmp_path).load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_data_set_of_the_hub_at_its_commit(tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    hub.mkdir()
    (hub / "README.md").write_text("---\nlicense: cc0-1.0\n---\n")
    for name, count in (("train", 16), ("test", 8)):
        lines = ["text,kind", *(f"bird {name} {n},{'ab'[n % 2]}" for n in range(count))]
        (hub / f"{name}.csv").write_text("\n".join(lines))
    (tmp_path / "hub.toml").write_text(SUITE)
    (tmp_path / "other.toml").write_text(SUITE.replace(COMMIT, "f" * 40))
    with served(hub) as address:
        own = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "MMBENCH_CACHE": str(tmp_path / "cache")}
        gone = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
        environ = {key: value for key, value in os.environ.items() if key not in gone} | own
        code = "import sys; from mmbench.cli.app import call; sys.exit(max([call(('info', a)) for a in sys.argv[1:]]))"
        words = [sys.executable, "-c", code, "hub.toml", "other.toml"]
        done = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300)
    assert "rows: train 12, validation 4, test 8" in done.stdout, done.stderr
    assert "row 0 of train: text 'bird train" in done.stdout
    assert done.returncode == 2, done.stderr
    assert f"hub '{NAME}' at ffffffffffff" in done.stderr
    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file() and b"bird test" in path.read_bytes()]
    assert len(done.stderr.strip().splitlines()[-1]) < 600
