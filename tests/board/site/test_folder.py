"""The site's folder: written whole or not at all, never over anything that is not a site of ours."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmbench.board.site import folder
from mmbench.errors import MMBenchError

FILES = {"index.html": b"<p>", "cells/a.html": b"a", "data/leaderboard.csv": b"x,y\n"}


def site(**changed: bytes) -> dict[str, bytes]:
    made = FILES | {name.replace("__", "/").replace("_", "."): content for name, content in changed.items()}
    return made | {"manifest.json": json.dumps({"mmbench_site": 1, "files": dict.fromkeys(made, "")}).encode()}


def held(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_it_is_written_replaced_and_known_again(tmp_path: Path) -> None:
    to = tmp_path / "deep" / "site"
    folder.write(site(), to)
    assert held(to) == site()
    assert folder.differences(site(), to) == []
    smaller = {path: content for path, content in site(index_html=b"new").items() if path != "cells/a.html"}
    folder.write(smaller, to)
    assert held(to) == smaller, "what the new one has not is gone"
    assert [path.name for path in to.parent.iterdir()] == ["site"], "nothing is left beside it"


def test_what_differs_is_named(tmp_path: Path) -> None:
    to = tmp_path / "site"
    assert folder.differences(site(), to) == [f"missing: {to}"]
    folder.write(site(), to)
    (to / "index.html").write_bytes(b"edited")
    (to / "cells/a.html").unlink()
    (to / "cells/stranger.html").write_bytes(b"")
    assert folder.differences(site(), to) == [
        f"changed: {to}/index.html",
        f"missing: {to}/cells/a.html",
        f"not ours: {to}/cells/stranger.html",
    ]


def refused(to: Path, said: str) -> None:
    before = held(to) if to.is_dir() else None
    with pytest.raises(MMBenchError, match=said):
        folder.write(site(index_html=b"new"), to)
    assert (held(to) if to.is_dir() else None) == before
    assert not [path for path in to.parent.iterdir() if path.name.startswith(".")]


def test_a_folder_that_is_no_site_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.tex").write_text("years")
    refused(tmp_path / "thesis", "no site that mmbench wrote")
    (tmp_path / "thesis/manifest.json").write_text('{"mmbench_site": 99, "files": {"chapter.tex": ""}}')
    refused(tmp_path / "thesis", "no site that mmbench wrote")
    (tmp_path / "thesis/manifest.json").write_text("[" * 100_000)
    refused(tmp_path / "thesis", "no site that mmbench wrote")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "is a file")
    (tmp_path / "empty").mkdir()
    folder.write(site(), tmp_path / "empty")


def test_a_strangers_file_in_the_site_is_left_alone(tmp_path: Path) -> None:
    to = tmp_path / "site"
    folder.write(site(), to)
    (to / "CNAME").write_text("example.org")
    refused(to, "'CNAME', which is not of the site")


def test_links_are_not_followed(tmp_path: Path) -> None:
    real = tmp_path / "real"
    folder.write(site(), real)
    (tmp_path / "link").symlink_to(real)
    with pytest.raises(MMBenchError, match="symbolic link"):
        folder.write(site(index_html=b"new"), tmp_path / "link")
    assert folder.differences(site(), tmp_path / "link") == [f"missing: {tmp_path}/link"]
    secret = tmp_path / "secret"
    secret.write_bytes(FILES["index.html"])
    (real / "index.html").unlink()
    (real / "index.html").symlink_to(secret)
    assert folder.differences(site(), real) == [f"changed: {real}/index.html"]
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("")
    (real / "cells/a.html").unlink()
    (real / "cells").rmdir()
    (real / "cells").symlink_to(outside)
    refused(real, "which is not of the site")
    assert (outside / "kept").exists()


def test_a_folder_that_cant_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MMBenchError, match="can't be written"):
        folder.write(site(), tmp_path / "file" / "site")


def test_a_failure_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    to = tmp_path / "site"
    folder.write(site(), to)
    with pytest.raises(MMBenchError):
        folder.write({**site(index_html=b"new"), "cells/a.html/below": b""}, to)
    assert held(to) == site()
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


WRITER = """
import sys, json
from pathlib import Path
from mmbench.board.site import folder
for turn in range(10_000):
    made = {f"cells/{n}.html": b"%d" % turn for n in range(20)}
    made["manifest.json"] = json.dumps({"mmbench_site": 1, "files": dict.fromkeys(made, "")}).encode()
    folder.write(made, Path(sys.argv[1]))
    print(turn, flush=True)
"""


def test_kill_9_at_any_point_leaves_a_whole_site(tmp_path: Path) -> None:
    """After each kill the next writer finds a whole site, or one that had stepped aside, and clears what was left."""
    to = tmp_path / "site"
    for turn in range(6):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(to)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.013 * turn)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        kept = to if to.exists() else next(tmp_path.glob(".site.old-*"))
        contents = {path.read_bytes() for path in (kept / "cells").iterdir()}
        assert len(contents) == 1, "of one turn"
        assert len(list((kept / "cells").iterdir())) == 20
    folder.write({"manifest.json": b'{"mmbench_site": 1, "files": {}}'}, to)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_site_that_had_stepped_aside_comes_back(tmp_path: Path) -> None:
    to = tmp_path / "site"
    folder.write(site(), to)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    to.rename(tmp_path / f".site.old-{gone.pid}")
    with pytest.raises(MMBenchError):
        folder.write({"a": b"", "a/b": b""}, to)
    assert held(to) == site()
