"""What users read when a part fails: whose file it was, and the line."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

PART = "def fail() -> None:\n    raise KeyError('note')\n"
ASK = """
import {module}
from mmbench.errors import blamed
try:
    {module}.fail()
except KeyError as error:
    print(blamed(error))
"""


@pytest.mark.parametrize("registered", [True, False])
@pytest.mark.parametrize("file", ["wine.py", "wine/part.py"])
def test_an_installed_plugins_file_is_named_and_a_librarys_is_not(
    tmp_path: Path, file: str, *, registered: bool
) -> None:
    venv.create(tmp_path, symlinks=True)
    (packages,) = tmp_path.glob("lib/python*/site-packages")
    (packages / file).parent.mkdir(exist_ok=True)
    (packages / file).write_text(PART)
    module = file.removesuffix(".py").replace("/", ".")
    if registered:
        told = packages / "wine-1.0.dist-info"
        told.mkdir()
        (told / "METADATA").write_text("Metadata-Version: 2.1\nName: wine\nVersion: 1.0\n")
        (told / "entry_points.txt").write_text(f"[mmbench]\nwine = {module}\n")
    path = os.pathsep.join([str(Path(__file__).parent.parent), sysconfig.get_path("purelib")])
    done = subprocess.run(
        [tmp_path / "bin/python", "-c", ASK.format(module=module)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "KeyError: 'note'" + (f" ({Path(file).name}, line 2)" if registered else "")


def test_a_users_own_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine_part.py").write_text(PART)
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(module="mine_part")],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "KeyError: 'note' (mine_part.py, line 2)"
