"""One chain: a real `mmbench run` in real processes, killed at each of its points and started again until it is
done."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from mmbench.store import reading
from tests.chaos.folder import RECORDS, TRIALS, Rows
from tests.chaos.points import CELLS, Point

HERE = Path(__file__).parent
# The command itself, but that a write beyond the limit for files kills it at that byte, as Python by itself forbids.
PROGRAM = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL); from mmbench.cli.app import main; main()"
PATIENCE = 240.0
"""Seconds in which a phase must be reached, and a run be done."""
LONGEST_LIFE = 20.0
"""Seconds after which a process that outlives its parent counts as an orphan. On an idle machine it is about two: the
time that the server needs to import its libraries, during which it does not look up."""
ASKED = {"interrupted": 130, "terminated": 143}
"""{how a run was asked to stop: its exit code}; 0 if it was done before it heard of it."""
ASLEEP = 3.0
"""Seconds."""


class ChaosError(AssertionError):
    """What must not happen has happened."""


@dataclass
class Chain:
    """A chain of kills below `place`, and what it saw."""

    place: Path
    points: list[Point]
    workers: int = 2
    made: list[Point] = field(default_factory=list)
    """The points at which something was killed."""
    starts: int = 0
    longest_life: float = 0.0
    """Seconds that a process lived on after the parent was killed."""
    tell: Callable[[str], None] = print

    @property
    def folder(self) -> Path:
        return self.place / "results" / "chaos"

    @property
    def rows(self) -> Rows:
        return Rows(self.folder)

    def run(self) -> None:
        """Start, kill, start again, to the end. Raises ChaosError."""
        process = self._start()
        try:
            for point in self.points:
                if not self._reach(process, point):
                    self.tell(f"{self.place.name}: {point}: over before")
                    continue
                sound = {name: self.rows.whole(name) for name in (TRIALS, RECORDS)}
                stopped = self._kill(process, point)
                if stopped is None:
                    self.tell(f"{self.place.name}: {point}: nobody was there")
                    continue
                self.made.append(point)
                self.tell(f"{self.place.name}: {point}")
                self._check(sound)
                if stopped:
                    process = self._start()
            self._finish(process)
        finally:
            _end(process)

    def _start(self) -> "subprocess.Popen[bytes]":
        self.starts += 1
        self.place.mkdir(parents=True, exist_ok=True)
        words = ["run", str(HERE / "chaos.toml"), "--plugin", str(HERE / "parts.py")]
        words += ["--results", str(self.place / "results"), "--workers", str(self.workers)]
        environ = os.environ | {"MMBENCH_CACHE": str(self.place / "cache")}
        with (self.place / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *words], env=environ, stdout=log, stderr=log, start_new_session=True
            )

    def _reach(self, process: "subprocess.Popen[bytes]", point: Point) -> bool:
        """Wait for the point's moment; False if the run was over first."""
        deadline = time.monotonic() + PATIENCE
        while not self._is_there(point):
            if process.poll() is not None:
                return False
            if time.monotonic() > deadline:
                raise ChaosError(f"{point} was not reached in {PATIENCE:.0f} s:\n{self._said()}")
            time.sleep(0.002)
        if point.phase in ("trial", "refit", "measure"):
            _workers(process)  # the rows may be there since before this start
        if point.phase == "append":
            self._await_row(process)
        elif point.phase != "torn":
            time.sleep(point.wait)
        return process.poll() is None

    def _is_there(self, point: Point) -> bool:
        if point.phase in ("data", "features"):  # while it is made it is called a draft
            drafts = {path.parent.name for path in (self.place / "cache").glob("*/*.draft*")}
            return "features" in drafts if point.phase == "features" else bool(drafts - {"features"})
        if point.phase in ("measure", "publish"):
            done = self.rows.count("record") >= point.after
            return done and (point.phase == "publish" or self._searched())
        return self.rows.count("refit" if point.phase == "refit" else "trial") >= point.after

    def _searched(self) -> bool:
        """Whether every cell was refitted: the default's refits come last, and there are none where it won."""
        refits = [line["row"] for line in self.rows.lines(TRIALS) if line["kind"] == "refit"]
        last = [r["cell"] for r in refits if r["role"] == "tuned" and r["seed"] == 1]
        return len(set(last)) == CELLS

    def _await_row(self, process: "subprocess.Popen[bytes]") -> None:
        """Until the file grows: its newest row is perhaps not on the disk yet."""
        size = len(self.rows.read(TRIALS))
        while process.poll() is None and len(self.rows.read(TRIALS)) == size:
            pass

    def _kill(self, process: "subprocess.Popen[bytes]", point: Point) -> bool | None:
        """Whether the run is dead now, and has to be started again; None if there was nobody to kill."""
        family = _family(process)
        if point.phase == "torn":
            if not self._tear(process, share=point.wait):
                return None
        elif point.victim == "group":
            os.killpg(process.pid, signal.SIGKILL)
        elif point.victim == "parent":
            process.kill()
        elif point.victim == "interrupted":
            os.killpg(process.pid, signal.SIGINT)
        elif point.victim == "terminated":
            process.terminate()
        elif point.victim == "suspended":
            _suspend([psutil.Process(process.pid), *family])
            return False
        else:
            victims = _servers(process) if point.victim == "server" else _workers(process)
            for victim in victims[:1]:
                victim.kill()
            return False if victims else None
        self._await_end(process, point)
        self._bury(family)
        return True

    def _await_end(self, process: "subprocess.Popen[bytes]", point: Point) -> None:
        """Until it is dead: at once if it was killed, in good order if it was asked to stop."""
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise ChaosError(f"{point}: it does not stop:\n{self._said()}") from error
        if point.victim in ASKED and code not in (0, ASKED[point.victim]):
            raise ChaosError(f"{point}: exit code {code}:\n{self._said()}")

    def _tear(self, process: "subprocess.Popen[bytes]", share: float) -> bool:
        """Let the kernel kill the process after it has written some bytes of its next row; False if it wrote none."""
        content = self.rows.whole(TRIALS)
        row = len(content.splitlines()[-1]) if content else 900
        limit = len(content) + max(1, int(share * row))
        try:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        except ProcessLookupError:
            return False
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise ChaosError(f"no row was torn in {PATIENCE:.0f} s:\n{self._said()}") from error
        if code != -signal.SIGXFSZ:
            return False
        halves = [path for path in self.folder.rglob(".*.tmp") if path.stat().st_size]
        if not halves and self.rows.read(TRIALS) == self.rows.whole(TRIALS):
            raise ChaosError(f"{process.pid} was killed in the middle of a write, but nothing is torn")
        return True

    def _bury(self, family: list[psutil.Process]) -> None:
        """Nothing may live on without the parent."""
        died = time.monotonic()
        _, alive = psutil.wait_procs(family, timeout=LONGEST_LIFE)
        if alive:
            raise ChaosError(f"they live on without their parent: {[p.cmdline() for p in alive]}")
        self.longest_life = max(self.longest_life, time.monotonic() - died)

    def _check(self, sound: dict[str, bytes]) -> None:
        """Whatever was killed: the folder can be read, and what was stored is stored."""
        if (self.folder / reading.SUITE).exists():
            reading.read_run(self.folder)
            dict(reading.history(self.folder))
        for name, before in sound.items():
            if not self.rows.read(name).startswith(before):
                raise ChaosError(f"{self.folder / name} has lost rows")

    def _finish(self, process: "subprocess.Popen[bytes]") -> None:
        for _ in range(2):
            try:
                code = process.wait(PATIENCE)
            except subprocess.TimeoutExpired as error:
                raise ChaosError(f"the run does not end:\n{self._said()}") from error
            if code:
                raise ChaosError(f"exit code {code}:\n{self._said()}")
            process = self._start()  # once more: nothing is left to do
        _end(process)

    def _said(self) -> str:
        return (self.place / "log").read_text()[-3000:]


def _suspend(family: list[psutil.Process]) -> None:
    """Stop all of them for a while, as a machine that sleeps: no clock of theirs may count it."""
    for send in ("suspend", "resume"):
        for member in family:
            with suppress(psutil.NoSuchProcess):
                getattr(member, send)()
        if send == "suspend":
            time.sleep(ASLEEP)


def _family(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _servers(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    children = psutil.Process(process.pid).children()
    return [child for child in children if any("forkserver" in word for word in child.cmdline())]


def _workers(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """Those at work now; waits for one to begin."""
    found: list[psutil.Process] = []
    deadline = time.monotonic() + PATIENCE
    while not found and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
        with suppress(psutil.NoSuchProcess):
            found = [worker for server in _servers(process) for worker in server.children()]
    return found


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
