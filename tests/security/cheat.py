"""A plugin that cheats: a fusion, an encoder and an objective that look everywhere for the test labels.

What they find goes to a file in CHEAT_REPORT; a fusion that finds the truth answers with it. The data set is noise, so
that nothing but the truth itself scores above chance, and has a number of test rows that nothing else has.
"""

import ctypes
import gc
import io
import json
import os
import socket
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, ClassVar

import mmbench as mb
from mmbench.api.carrier import Carrier
from mmbench.api.data import Target

ROWS = {"train": 160, "validation": 80, "test": 97}
CLASSES = 4
MEMBER = "secret/rows.json"
SECRET = Carrier(
    package="secret-data",
    version="1.0",
    sha256=os.environ.get("CHEAT_SHA256", ""),
    size=int(os.environ.get("CHEAT_SIZE", "0")),
    licence="CC0-1.0",
)


class Noise(mb.Dataset):
    """Two views of nothing, and labels that a carrier brings, with those of test in a file beside it, too."""

    name = "noise"
    columns = {"left": "tabular", "right": "tabular"}
    target: ClassVar[Target] = mb.Label("label")
    licence = "CC0-1.0"

    def files(self) -> list[Path]:
        return [Path(os.environ["CHEAT_FILE"])]

    def load(self, cache: Path) -> Any:
        import numpy as np
        from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

        labels = json.loads(SECRET.read(MEMBER))
        kept = cache / "noise-of-mine" / "rows.json"
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps(labels["test"]))
        number = List(Value("float32"))
        features = Features(left=number, right=number, label=ClassLabel(names=list("abcd")))
        rng = np.random.default_rng(0)
        return DatasetDict(
            {
                split: Dataset.from_dict(
                    {
                        "left": rng.normal(size=(n, 3)).tolist(),
                        "right": rng.normal(size=(n, 3)).tolist(),
                        "label": labels[split],
                    },
                    features=features,
                )
                for split, n in ROWS.items()
            }
        )


def hunt(who: str, *given: Any) -> list[int] | None:
    """Every way that we know, once a process; gives the labels of test if one led there, and reports all of it."""
    place = Path(os.environ["CHEAT_REPORT"]) / f"{who}-{os.getpid()}.json"
    if place.exists():
        return next(iter(json.loads(place.read_text())["found"].values()), None)
    cache = Path(os.environ["MMBENCH_CACHE"])
    found: dict[str, list[int]] = {}
    refused: dict[str, str] = {}
    ways: dict[str, Callable[[], Iterator[Any]]] = {
        "objects": lambda: _objects(given),
        "tables": _tables,
        "load": lambda: iter([_parts("Noise")[0].load(cache)["test"]["label"]]),
        "import": lambda: iter([Noise().load(cache)["test"]["label"]]),
        "cat": lambda: _cat(cache / "truth"),
        "move": lambda: _move(cache),
        "descriptors": _descriptors,
        "own file": lambda: iter([json.loads(Path(os.environ["CHEAT_FILE"]).read_text())]),
        "environment": lambda: (json.loads(value) for value in os.environ.values() if value.startswith("[")),
    }
    for folder in (cache, Path(os.environ["CHEAT_RESULTS"])):
        for file in sorted(_files(folder)):
            ways[f"file {file.relative_to(folder.parent)}"] = lambda file=file: _inside(file)  # type: ignore[misc]
    for way, look in ways.items():
        try:
            for labels in filter(None, map(_labels, look())):
                found[way] = labels
        except Exception as error:
            refused[way] = f"{type(error).__name__}: {error}"
    report = {
        "who": who,
        "found": found,
        "refused": refused,
        "memory": _memory(),
        "processes": _processes(),
        "servers": _servers(),
        "opened": [name for name in ways if name.startswith("file ") and name not in refused],
    }
    place.write_text(json.dumps(report))
    return next(iter(found.values()), None)


def _files(folder: Path) -> Iterator[Path]:
    """Every file below, also behind links."""
    for place, _, names in os.walk(folder, followlinks=True):
        yield from (path for name in names if (path := Path(place, name)).is_file())


def _labels(thing: Any) -> list[int] | None:
    """The thing as labels of test, if it can be that."""
    import numpy as np

    array = np.asarray(thing)
    fits = array.shape == (ROWS["test"],) and array.dtype.kind in "iu" and 0 < array.max() < CLASSES
    return array.astype(int).tolist() if fits else None


def _objects(given: Any) -> Iterator[Any]:
    """Arrays of all objects in this process, and of what hangs on our own arguments."""
    import numpy as np
    import torch

    for one in [given, *gc.get_objects()]:
        for thing in (one, *gc.get_referents(one)):
            if isinstance(thing, np.ndarray | torch.Tensor) and thing.shape == (ROWS["test"],):
                yield thing


def _parts(kind: str) -> list[Any]:
    """Objects of a class of that name."""
    return [one for one in gc.get_objects() if type(one).__name__ == kind]


def _tables() -> Iterator[Any]:
    tables = _parts("Table")
    assert tables, "no table is in reach: look at it again"
    for table in tables:
        yield table.targets("test")


def _inside(file: Path) -> Iterator[Any]:
    """Labels in a file of any form."""
    import pyarrow as pa
    from safetensors.numpy import load

    content = file.read_bytes()
    if file.suffix == ".safetensors":
        yield from load(content).values()
    elif file.suffix == ".arrow":
        table = pa.ipc.open_stream(content).read_all()
        yield from (table[name].to_pylist() for name in table.column_names if name not in Noise.columns)
    elif file.suffix == ".json":
        yield json.loads(content)
    elif file.suffix == ".whl":
        yield json.loads(zipfile.ZipFile(io.BytesIO(content)).read(MEMBER))["test"]


def _cat(folder: Path) -> Iterator[Any]:
    """By another program, in case the limit were this one's alone."""
    from safetensors.numpy import load

    for file in folder.iterdir():
        done = subprocess.run(["cat", str(file)], capture_output=True, check=True)
        yield from load(done.stdout).values()


def _move(cache: Path) -> Iterator[Any]:
    """Links, renames and other rights, to bring the file where it can be read."""
    truth = next((cache / "truth").glob("*.safetensors"))
    truth.chmod(0o666)
    with suppress(OSError):  # a place that every process is shown: the next one would be led there
        (cache / "home").symlink_to(truth.parent)
    link = cache / "features" / f"link-{os.getpid()}.safetensors"
    for bring in (link.symlink_to, link.hardlink_to):
        try:
            bring(truth)
            yield from _inside(link)
        except OSError:
            continue
        finally:
            link.unlink(missing_ok=True)
    for old, new in ((truth, link), (cache / "truth", cache / "features" / f"truth-{os.getpid()}")):
        old.rename(new)
        yield from _inside(new if new.is_file() else new / truth.name)
        new.rename(old)


def _descriptors() -> Iterator[Any]:
    for entry in Path("/proc/self/fd").iterdir():
        if "truth" in str(entry.readlink()):
            yield from _inside(entry)


def _processes() -> list[str]:
    """The other processes whose memory or open files can be had; what is mapped into them counts as open."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        for name in ("mem", "fd", "map_files") if int(place.name) != os.getpid() else ():
            try:
                with (place / "mem").open("rb") if name == "mem" else nullcontext():
                    seen = name == "mem" or [one.readlink() for one in (place / name).iterdir()]
                if seen and (place / "cmdline").read_bytes():  # the kernel's own processes have neither
                    found.append(f"{place.name} {(place / 'comm').read_text().strip()} {name}")
            except OSError:
                continue
    return found


def _servers() -> list[str]:
    """The sockets of this run's servers that fork processes, and that can be asked to."""
    found = []
    lines = Path("/proc/net/unix").read_text().splitlines()
    for path in {line.split()[-1] for line in lines if os.environ["CHEAT_SOCKETS"] in line}:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(path)
                found.append(path)
            except OSError:
                continue
    return found


def _memory() -> dict[str, str]:
    """Whether the memory of the processes above this one can be read: a word where each one's program lies."""

    class Span(ctypes.Structure):
        _fields_ = [("start", ctypes.c_void_p), ("size", ctypes.c_size_t)]

    answers = {}
    pid = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    for _ in range(2):  # the server that forks workers, and the run itself
        try:
            start = int(Path(f"/proc/{pid}/maps").read_text().partition("-")[0], 16)
            word = ctypes.create_string_buffer(8)
            here, there = Span(ctypes.addressof(word), 8), Span(start, 8)
            count = libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
            answers[f"readv {pid}"] = os.strerror(ctypes.get_errno()) if count < 0 else f"read {count} bytes"
            with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
                memory.seek(start)
                answers[f"mem {pid}"] = f"read {len(memory.read(8))} bytes"
        except OSError as error:
            answers[f"mem {pid}"] = str(error)
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        pid = next(int(line.split()[1]) for line in status if line.startswith("PPid"))
    return answers


class Peek(mb.Fusion):
    """Answers with the test labels, if it finds them."""

    name = "peek"
    level = "decision"

    def build(self, inputs: Any, width: int, params: Any) -> Any:
        import torch
        from torch import nn

        class Answer(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.guess = nn.Linear(sum(spec.width for spec in inputs.values()), width)

            def forward(self, features: Any) -> Any:
                logits = self.guess(torch.cat([f.pooled for f in features.values()], 1))
                truth = None
                if not self.training and len(logits) == ROWS["test"]:
                    truth = hunt("fusion", self, features, inputs, params)
                return nn.functional.one_hot(torch.tensor(truth), width).float() if truth else logits

        return Answer()


class Spy(mb.Encoder):
    """Looks while it prepares, where it sees the inputs of test."""

    name = "spy"
    kind = "tabular"

    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        hunt("encoder fit", self, column)
        return {}

    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> Any:
        import numpy as np

        hunt("encoder", self, column)
        return {"x": np.stack(column).astype("float32")}

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> Any:
        from torch import nn

        class Pass(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.linear = nn.Linear(3, 8)

            def forward(self, arrays: Any) -> Any:
                return self.linear(arrays["x"])

        return Pass()


class Listen(mb.Objective):
    """Looks while it trains."""

    name = "listen"

    def build(self, inputs: Any, outputs: int, params: Any) -> Any:
        from torch import nn

        class Loss(nn.Module):
            def on_epoch(self, epoch: Any) -> None:
                hunt("objective", self, epoch)

        return Loss()


@mb.hookimpl
def mmbench_datasets() -> list[type[mb.Dataset]]:
    return [Noise]


@mb.hookimpl
def mmbench_fusions() -> list[type[mb.Fusion]]:
    return [Peek]


@mb.hookimpl
def mmbench_encoders() -> list[type[mb.Encoder]]:
    return [Spy]


@mb.hookimpl
def mmbench_objectives() -> list[type[mb.Objective]]:
    return [Listen]
