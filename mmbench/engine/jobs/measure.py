"""What a configuration costs: measured alone, in a fresh process, after warm-up, time and memory apart.

What is measured is the part that a contender brings: encoders' modules, fusion and head, from stored features.
What the preprocessors cost (a frozen encoder, say) stands beside it as `prepare_ms`.
"""

import ctypes
import gc
import json
import os
import pickle
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from mmbench.api.space import Params
from mmbench.engine import identity
from mmbench.engine.jobs.derived import derived
from mmbench.engine.jobs.estimator import fit_estimator, predict_estimator
from mmbench.engine.jobs.flops import FlopCounter
from mmbench.engine.jobs.workspace import Workspace
from mmbench.engine.learn.dropout import Dropout
from mmbench.engine.learn.evaluation import unobserved
from mmbench.engine.learn.model import Inputs, Model, kernels
from mmbench.engine.learn.optimizer import Rule, Updater, rule_of
from mmbench.engine.learn.train import Lesson, Recipe, fit
from mmbench.engine.space import derive_seed
from mmbench.errors import TrainingError

SECONDS = 0.05  # how long each figure is sampled
ROUNDS = 5  # in how many parts at least
LONGEST = 0.25  # seconds that it is sampled at most, until the calmest rounds agree
CALM, AGREED = 3, 0.03  # how many of these there must be, and how close, as a share
WARM_UP = 5
BATCH = 64
RAW = 32  # rows whose preprocessing is timed

COSTS = (
    "parameters",
    "weight_bytes",
    "nonzero",
    "flops",
    "latency_ms_p50",
    "latency_ms_p90",
    "latency_ms_p99",
    "throughput",
    "train_throughput",
    "peak_memory_bytes",
    "device_memory_bytes",
    "device_memory_reserved_bytes",
    "prepare_ms",
)


def measure(workspace: Workspace, params: Params) -> dict[str, Any]:
    """Every figure of COSTS, null where it does not apply, and the conditions they were taken under."""
    costs: dict[str, Any] = dict.fromkeys(COSTS)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    if workspace.origin:
        costs |= _derived(workspace, params)
    elif workspace.is_trained(params):
        costs |= _memory(workspace, params)
        costs |= _time(workspace, params)
    else:
        costs |= _estimator(workspace, params)
        costs["peak_memory_bytes"] = _estimator_memory(workspace, params)
    costs["prepare_ms"] = {m: _preparation(workspace, params, m) for m in workspace.cell.encoders}
    return costs | {
        "protocol": identity.COSTS,
        "batch_size": BATCH,
        "device": _device_name(workspace.device),
        "threads": torch.get_num_threads(),
        "load_average": load,
    }


def _memory(workspace: Workspace, params: Params) -> dict[str, Any]:
    """The growth of resident memory, from before the model is built to the peak of an epoch of training and a pass of
    inference; on CUDA what was allocated and reserved."""
    train, test = workspace.inputs(params, "train"), workspace.inputs(params, "test")
    cuda = workspace.device.type == "cuda"
    _load_libraries(workspace.device, rule_of(workspace.catalog, params))
    _give_back()
    if cuda:
        torch.cuda.reset_peak_memory_stats(workspace.device)
        held = torch.cuda.memory_allocated(workspace.device)
    before = _reset_peak()
    model = workspace.model(params, seed=0)
    _train(workspace, model, params, train, rows=4 * params["train.batch_size"])
    with torch.inference_mode():
        model.eval()
        _forward(model, test, BATCH)()
    peak = _peak()
    costs: dict[str, Any] = {"peak_memory_bytes": max(0, peak - before) if peak and before else None}
    if cuda:
        costs["device_memory_bytes"] = torch.cuda.max_memory_allocated(workspace.device) - held
        costs["device_memory_reserved_bytes"] = torch.cuda.max_memory_reserved(workspace.device)
    return costs


def _time(workspace: Workspace, params: Params) -> dict[str, Any]:
    model, train = workspace.model(params, seed=0), workspace.inputs(params, "train")
    costs: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters() if p.requires_grad)}
    seconds = _train(workspace, model, params, train, rows=train.n)
    return costs | _inference(workspace, model, params) | {"train_throughput": train.n / seconds}


def _derived(workspace: Workspace, params: Params) -> dict[str, Any]:
    """Of what the compressors made of the first refit: it has weights of its own, and trains nothing."""
    assert workspace.origin is not None
    model, _ = derived(workspace, params, min(workspace.origin.refits))
    return {"parameters": sum(p.numel() for p in model.parameters())} | _inference(workspace, model, params)


def _inference(workspace: Workspace, model: Model, params: Params) -> dict[str, Any]:
    test = workspace.inputs(params, "test")
    held = _held(model)
    costs: dict[str, Any] = {
        "weight_bytes": sum(tensor.numel() * tensor.element_size() for tensor in held),
        "nonzero": sum(int(tensor.count_nonzero()) for tensor in held),
    }
    model.eval()
    # With gradients: without them nn.MultiheadAttention is one kernel, which has no formula.
    with FlopCounter() as counter:
        _forward(model, test, 1)()
    costs["flops"] = counter.total
    batch = min(BATCH, test.n)
    with torch.inference_mode(), kernels(model):
        for rows in (1, batch):
            _compare(_forward(model, test, rows)(), unobserved(model, test.batch(slice(0, rows))))
        return costs | _pace(_forward(model, test, 1), _forward(model, test, batch), batch, workspace.device)


def _estimator(workspace: Workspace, params: Params) -> dict[str, Any]:
    valid = workspace.inputs(params, "validation")
    estimator, result = fit_estimator(workspace, params, 0)

    def predict(n: int) -> Callable[[], object]:
        few = {m: {name: array[:n] for name, array in arrays.items()} for m, arrays in valid.arrays.items()}
        inputs = Inputs(few, None, n)
        return lambda: predict_estimator(workspace, params, estimator, inputs)

    batch = min(BATCH, valid.n)
    costs = _pace(predict(1), predict(batch), batch, workspace.device)
    return costs | {"train_throughput": result.throughput, "weight_bytes": _size(estimator)}


def _estimator_memory(workspace: Workspace, params: Params) -> int | None:
    """The growth of resident memory through a fit and a pass over validation; what was fitted before is gone, and has
    loaded the libraries."""
    _give_back()
    before = _reset_peak()
    estimator, _ = fit_estimator(workspace, params, 0)
    predict_estimator(workspace, params, estimator, workspace.inputs(params, "validation"))
    peak = _peak()
    return max(0, peak - before) if peak and before else None


def _held(model: torch.nn.Module) -> list[torch.Tensor]:
    """Its parameters and buffers, and the tensors that a module keeps as plain attributes beside them, in lists
    and tables too: out of sight they weigh as much."""
    held = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    stored = {tensor.untyped_storage().data_ptr() for tensor in held.values()}
    seen: set[int] = set()
    waiting: list[Any] = [model]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, torch.Tensor):
            if not thing.is_meta and (place := thing.untyped_storage().data_ptr()) not in stored:
                stored.add(place)
                held[id(thing)] = thing
        elif isinstance(thing, torch.nn.Module) and type(thing) is not Dropout:  # which draws its chances ahead
            waiting += vars(thing).values()
        elif isinstance(thing, dict | list | tuple):
            waiting += thing.values() if isinstance(thing, dict) else thing
    return list(held.values())


def _size(estimator: Any) -> int | None:
    """Bytes of an estimator as it would be stored."""
    try:
        return len(pickle.dumps(estimator, pickle.HIGHEST_PROTOCOL))
    except Exception:  # of a part's own: it may hold what can't be stored
        return None


def _pace(one: Callable[[], object], many: Callable[[], object], rows: int, device: torch.device) -> dict[str, Any]:
    """Latency of one row, throughput in `rows`, how far apart each lay in the rounds that count, and a reference."""
    latency, pace = _rounds(one, device), _rounds(many, device)
    return {
        "latency_ms_p50": latency.median * 1e3,
        **{f"latency_ms_p{q}": float(np.percentile(latency.every, q)) * 1e3 for q in (90, 99)},
        "throughput": rows / pace.median,
        "spread": {"latency_ms_p50": latency.spread, "throughput": pace.spread},
        "reference_ms": {"latency_ms_p50": latency.reference * 1e3, "throughput": pace.reference * 1e3},
    }


@dataclass(frozen=True)
class Rounds:
    """Seconds of a call when nobody else wants the machine, which only ever makes it longer: the median of the calmest
    rounds."""

    every: list[float]
    """Of each call in all rounds."""
    median: float
    spread: float
    """Half of what lies between the calmest rounds, as a share."""
    reference: float
    """Seconds that something small and always the same took in these rounds: longer than elsewhere in a run, and the
    machine was busy throughout."""


def _rounds(work: Callable[[], object], device: torch.device) -> Rounds:
    every: list[float] = []
    found: list[tuple[float, float]] = []
    reference = _reference(device)
    end = time.perf_counter() + LONGEST
    while True:
        warm_up = 1 if found else WARM_UP
        taken = _samples(work, device, warm_up, SECONDS / ROUNDS)
        beside = _samples(reference, device, warm_up, SECONDS / ROUNDS / 10)
        every += taken
        found.append((float(np.median(taken)), float(np.median(beside))))
        calm = sorted(found)[:CALM]
        spread = (calm[-1][0] - calm[0][0]) / 2 / calm[0][0]
        if (len(found) >= ROUNDS and spread <= AGREED / 2) or (len(calm) == CALM and time.perf_counter() > end):
            median, beside_it = (float(np.median(values)) for values in zip(*calm, strict=True))
            return Rounds(every, median, spread, beside_it)


def _reference(device: torch.device) -> Callable[[], object]:
    """Of the size of what is measured most: some small layers and a row."""
    layers = [torch.full((64, 64), 0.01, device=device) for _ in range(4)]
    row = torch.ones(1, 64, device=device)

    def run() -> None:
        vector = row
        for layer in layers:
            vector = torch.nn.functional.gelu(vector @ layer)

    return run


def _train(workspace: Workspace, model: Model, params: Params, train: Inputs, *, rows: int) -> float:
    """Train over the first `rows` for an epoch; gives the seconds it took."""
    rows = min(rows, train.n)
    target = None if train.target is None else train.target[:rows]
    some = Inputs(train.batch(slice(0, rows)), target, rows)
    two = Inputs(train.batch(slice(0, 2)), None, 2)
    rule, size = rule_of(workspace.catalog, params), params["train.batch_size"]
    recipe = Recipe(epochs=1, patience=1, batch_size=size, seed=derive_seed("measure"), rule=rule)
    lesson = Lesson(some, two, score=lambda _: 0.0, augment=workspace.augment(params))
    return fit(model, recipe, lesson).train_seconds


def _compare(measured: torch.Tensor, decided: torch.Tensor) -> None:
    """Raise TrainingError if what is timed is not what the model decides otherwise: it looks who calls."""
    if measured.shape != decided.shape or not torch.allclose(measured, decided, rtol=1e-3, atol=1e-5, equal_nan=True):
        raise TrainingError("it decides otherwise while it is measured")


def _forward(model: Model, inputs: Inputs, n: int) -> Callable[[], torch.Tensor]:
    batch = inputs.batch(slice(0, n))
    return lambda: model(batch)


def _samples(work: Callable[[], object], device: torch.device, warm_up: int, seconds: float) -> list[float]:
    """Seconds of each call, for so many seconds and at least two calls, after a warm-up."""
    for _ in range(warm_up):
        work()
    _synchronise(device)
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 2 or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        _synchronise(device)
        taken.append(time.perf_counter() - start)
    return taken


def _preparation(workspace: Workspace, params: Params, modality: str) -> float | None:
    """Milliseconds a row of the encoder's `transform`: what many rows take longer than one, so that loading a frozen
    network does not count. It is the same for every cell, so it is measured once and kept beside the features."""
    prepared = workspace.prepared(params)[modality]
    kept = prepared.stored.folder / "cost.json"
    if kept.exists():
        found: float | None = json.loads(kept.read_text())
        return found
    values = [value for value in workspace.table.values("test", modality, first=RAW) if value is not None]
    if len(values) < 2:
        return None
    state = prepared.state()
    taken = {}
    for rows in (values[:1], values[:1], values):  # the first call warms up
        start = time.perf_counter()
        prepared.encoder.transform(state, rows)
        taken[len(rows)] = time.perf_counter() - start
    cost = max(0.0, taken[len(values)] - taken[1]) * 1e3 / (len(values) - 1)
    partial = kept.with_name(f"{kept.name}.{os.getpid()}.tmp")
    partial.write_text(json.dumps(cost))
    partial.replace(kept)  # at once: a process that is killed leaves no half of it for the next to trip over
    return cost


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _load_libraries(device: torch.device, rule: Rule) -> None:
    """Train something small and neutral: what torch loads when it is first used, some 20 MiB, is nobody's own cost. Not
    the model to be measured: what that keeps beyond its own life would not be seen again."""
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.LayerNorm(8), torch.nn.GELU(), torch.nn.Dropout(0.1))
    model = model.to(device)
    updater = Updater(dict(model.named_parameters()), rule)
    rows, target = torch.zeros(4, 8, device=device), torch.zeros(4, dtype=torch.long, device=device)
    torch.nn.functional.cross_entropy(model(rows), target).backward()
    updater.step(1.0)


def _give_back() -> None:
    """Hand freed memory to the system: what is measured next must not find room in what was used before."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
        if trim:
            trim(0)


def _reset_peak() -> int | None:
    """Forget the peak of resident memory; gives what is resident now. Only Linux can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return int(psutil.Process().memory_info().rss)


def _peak() -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
