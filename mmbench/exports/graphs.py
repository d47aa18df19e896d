"""The modules of an export as graphs that run without mmbench: ONNX and torch.export, of any number of rows.

In go the prepared arrays, "MODALITY.ARRAY"; out comes what the head predicts, such as probabilities. Preparing rows
stays with mmbench. A part whose module can't be traced is named with the reason, and there is no such file.
"""

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmbench.engine.data.features import MASK, PRESENT
from mmbench.engine.learn.dropout import Dropout
from mmbench.engine.learn.model import Model, kernels
from mmbench.engine.learn.recurrent import GRU
from mmbench.errors import MMBenchError, blamed, unknown

if TYPE_CHECKING:
    from mmbench.exports.loading import Export

FORMATS = ("safetensors", "onnx", "torch")
FILES = {"onnx": "model.onnx", "torch": "model.pt2"}
ROWS = 4
"""Of the batch that is traced; others are tried afterwards."""
CLOSE = 1e-4
"""How far a graph may be from the module, relative to the largest number."""


class UntraceableError(Exception):
    """There is no such graph; the message says why."""


class Flat(nn.Module):
    """A model whose arrays are arguments, one after the other."""

    def __init__(self, model: Model, names: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self.model, self.names = model, tuple(names)

    def forward(self, *arrays: Tensor) -> Tensor:
        batch: dict[str, dict[str, Tensor]] = {}
        for (modality, name), array in zip(self.names, arrays, strict=True):
            batch.setdefault(modality, {})[name] = array
        return self.model.predict(batch)


def check(formats: Sequence[str]) -> None:
    """Raise MMBenchError for a format that is not known, or needs what is not installed."""
    for name in formats:
        if name not in FORMATS:
            raise MMBenchError(unknown("format", name, FORMATS))
    if "onnx" in formats:
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise MMBenchError(f"--format onnx needs {error.name}: pip install 'mmbench[onnx]'") from error


def write(export: "Export", formats: Sequence[str]) -> list[str]:
    """Write model.onnx and model.pt2 beside the weights, as asked; a sentence on each, also where there is none."""
    said = []
    for name in dict.fromkeys(formats):
        if name not in FILES:
            continue
        file = export.folder / FILES[name]
        try:
            found = _torch(export, file) if name == "torch" else _onnx(export, file)
            said.append(f"{FILES[name]}: predicts as the module does, to {found:.1g}")
        except UntraceableError as error:
            for left in export.folder.glob(f"{FILES[name]}*"):
                left.unlink()
            said.append(f"no {FILES[name]}: {error}")
    return said


def flat(export: "Export") -> Flat:
    """The model with torch's own dropout and GRU, which can be traced."""
    model = copy.deepcopy(export.model).eval()
    for part in model.modules():
        if type(part) is Dropout:
            part.__class__ = nn.Dropout  # type: ignore[assignment]
        elif type(part) is GRU:
            part.__class__ = nn.GRU  # type: ignore[assignment]
    if hasattr(model.head, "compare"):
        raise UntraceableError(f"the head {export.head.name!r} compares all rows of a table with each other")
    return Flat(model, [(m, n) for m, arrays in export.manifest.inputs.items() for n in arrays])


def names(export: "Export") -> list[str]:
    """What the inputs of a graph are called."""
    return [f"{modality}.{name}" for modality, arrays in export.manifest.inputs.items() for name in arrays]


def _traced(export: "Export") -> tuple[Flat, Any]:
    module, arrays = flat(export), _arrays(export, ROWS)
    rows = torch.export.Dim("rows", min=1, max=2**20)
    try:
        with torch.no_grad(), kernels(module), _quiet():
            return module, torch.export.export(
                module, arrays, dynamic_shapes={"arrays": tuple({0: rows} for _ in arrays)}
            )
    except Exception as error:  # whatever a part does that a trace can't follow
        raise UntraceableError(f"{_culprit(export, module)} can't be traced: {_short(error)}") from error


def _torch(export: "Export", file: Path) -> float:
    module, program = _traced(export)
    with _quiet():
        torch.export.save(program, file)
        loaded = torch.export.load(file).module()
    return _agree(export, module, lambda arrays: loaded(*arrays))


def _onnx(export: "Export", file: Path) -> float:
    import onnxruntime

    module, program = _traced(export)
    try:
        with _quiet():
            torch.onnx.export(
                program,
                (),
                str(file),
                input_names=names(export),
                output_names=["prediction"],
                dynamo=True,
                verbose=False,
                external_data=False,
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        given = [one.name for one in session.get_inputs()]
    except Exception as error:
        raise UntraceableError(f"{_described(export)} can't be had as ONNX: {_short(error)}") from error

    def run(arrays: Sequence[Tensor]) -> Tensor:
        called = dict(zip(names(export), arrays, strict=True))
        found: Any = session.run(None, {name: called[name].numpy() for name in given})[0]
        return torch.from_numpy(found)

    return _agree(export, module, run)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of operators that nobody asked for."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _agree(export: "Export", module: Flat, run: Any) -> float:
    """The largest difference between a graph and the model as it is used, relative to the largest number, for batches
    of several sizes. Raises UntraceableError if it is too large."""
    largest = 0.0
    for rows in (1, ROWS + 3, ROWS):
        arrays = _arrays(export, rows)
        batch: dict[str, dict[str, Tensor]] = {}
        for (modality, name), array in zip(module.names, arrays, strict=True):
            batch.setdefault(modality, {})[name] = array
        with torch.inference_mode():
            wanted = export.model.predict(batch)
        try:
            found = run(arrays)
        except Exception as error:
            raise UntraceableError(f"{_described(export)}: a graph of {rows} rows fails: {_short(error)}") from error
        if found.shape != wanted.shape:
            raise UntraceableError(f"{_described(export)}: the graph gives {tuple(found.shape)} for {rows} rows")
        scale = max(1.0, float(wanted.abs().max()))
        largest = max(largest, float((found - wanted).abs().max()) / scale)
    if not largest <= CLOSE:
        raise UntraceableError(f"{_described(export)}: the graph differs from the module by {largest:.2g}")
    return largest


def _arrays(export: "Export", rows: int) -> tuple[Tensor, ...]:
    """A batch drawn at random, with a row that lacks each modality and a step that is masked, where there can be."""
    batch = export.batch(rows)
    generator = torch.Generator().manual_seed(rows)
    made = []
    for modality, arrays in export.manifest.inputs.items():
        for name in arrays:
            array = batch[modality][name]
            if array.is_floating_point():
                array = torch.randn(array.shape, generator=generator)
            elif name == PRESENT and rows > 1:
                array[-1] = False
            elif name == MASK and array.shape[1] > 1:
                array[:, -1] = False
            made.append(array)
    return tuple(made)


def _culprit(export: "Export", module: Flat) -> str:
    """Which part can't be traced: the first encoder that fails by itself, else the fusion or the head."""
    batch = export.batch(ROWS)
    for name, modality in module.model.modalities.items():
        given = {n: a for n, a in batch[modality].items() if n != PRESENT}
        try:
            with torch.no_grad():
                torch.export.export(_Features(module.model.encoders[name], list(given)), tuple(given.values()))
        except Exception:  # it is the one
            return f"encoder {export.manifest.params[f'encoder.{modality}']!r} of {modality!r}"
    return f"fusion {export.manifest.params['fusion']!r} with head {export.head.name!r}"


class _Features(nn.Module):
    """An encoder's module alone."""

    def __init__(self, encoder: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.encoder, self.names = encoder, tuple(names)

    def forward(self, *arrays: Tensor) -> Tensor:
        found: Any = self.encoder(dict(zip(self.names, arrays, strict=True)))
        tokens: Tensor = found if isinstance(found, Tensor) else found.tokens
        return tokens


def _described(export: "Export") -> str:
    return ", ".join(name for name in export.manifest.parts if not name.startswith("dataset."))


def _short(error: BaseException) -> str:
    return blamed(error)[:200]
