"""The tasks on which whole searches are compared, and one search by mmbench, each trial's cost told as it ends.

    python -m benchmarks.tasks --task uci_mfeat --trials 16 --seed 0

Prints what `benchmarks.plain.script` prints: a JSON line a trial, seconds since the process began. CPU-seconds are
those of all of mmbench's processes. Called by search and quality; `export` gives the plain script the same rows.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench.api.suite import Budget, ContenderSpec, Suite, TaskSpec

if TYPE_CHECKING:
    from mmbench.engine.jobs.workspace import Workspace

EPOCHS, PATIENCE = 20, 6
EMOJI = {"image": ("efficientnet_lite0",), "text": ("minilm",)}


@dataclass(frozen=True)
class SearchTask:
    """One cell: a data set, its encoders, the contender `concat`."""

    name: str
    dataset: str
    encoders: Mapping[str, tuple[str, ...]]
    params: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None

    def suite(self, *, trials: int, seed: int = 0, fusions: tuple[str, ...] = ("concat",)) -> Suite:
        budget = Budget(
            trials=trials,
            batch=1,
            epochs=EPOCHS,
            patience=PATIENCE,
            refit_seeds=1,
        )
        spec = TaskSpec(self.name, self.dataset, "accuracy", encoders=self.encoders, params=self.params)
        contenders = tuple(ContenderSpec(name=fusion, fusion=(fusion,)) for fusion in fusions)
        return Suite("benchmark", 1, budget, (spec,), contenders, seed=seed, limit=self.limit)


TASKS = {
    task.name: task
    for task in (
        SearchTask("emoji", "emoji_group", EMOJI),
        SearchTask("emoji-200", "emoji_group", EMOJI, limit=200),
        SearchTask("emoji-400", "emoji_group", EMOJI, limit=400),
        SearchTask("uci_mfeat", "uci_mfeat", {}),
        SearchTask(
            "av_digits-400",
            "av_digits",
            {"image": ("cnn",), "audio": ("logmel_cnn",)},
            limit=400,
            params={
                "encoder.image.cnn.width": 32,
                "encoder.audio.logmel_cnn.width": 32,
                "model.width": 64,
                "train.batch_size": 32,
            },
        ),
    )
}


def workspace(task: SearchTask, *, trials: int, seed: int = 0) -> "Workspace":
    """The task's cell as a worker has it."""
    from mmbench import plugins
    from mmbench.api.carrier import cache_folder
    from mmbench.engine.jobs.workspace import Workspace
    from mmbench.engine.plan import make

    catalog = plugins.load()
    (cell,) = make(task.suite(trials=trials, seed=seed), catalog).cells
    return Workspace(cell, catalog, cache_folder())


def export(task: SearchTask, file: Path) -> None:
    """Write the rows of train and validation as arrays: prepared features, and what frozen encoders would read."""
    import torch
    from safetensors.torch import save_file

    from mmbench.engine.space import default_params

    space = workspace(task, trials=1)
    params = default_params(space.cell, space.catalog)
    arrays: dict[str, Any] = {"classes": torch.tensor(space.state["outputs"])}
    for split, name in (("train", "train"), ("validation", "valid")):
        inputs = space.inputs(params, split)
        for modality, found in inputs.arrays.items():
            arrays |= {f"{name}.{modality}.{array}": tensor.contiguous() for array, tensor in found.items()}
        arrays[f"{name}.target"] = inputs.target
        if task.dataset == "emoji_group":
            arrays |= {f"{name}.{key}": tensor for key, tensor in _raw(space, split).items()}
    save_file(arrays, file)


def _raw(space: "Workspace", split: str) -> dict[str, Any]:
    """Pixels at the size that the encoder reads, and word pieces, padded."""
    import torch
    from mmbench_text.minilm import FOLDER, MEMBERS, WEIGHTS
    from mmbench_vision.pixels import resized
    from tokenizers import Tokenizer

    pixels = torch.stack([torch.from_numpy(resized(v, 96).copy()) for v in space.table.values(split, "image")])
    tokenizer = Tokenizer.from_file(str(WEIGHTS.extract(MEMBERS) / FOLDER / "tokenizer.json"))
    tokenizer.enable_padding()
    told = tokenizer.encode_batch(list(space.table.values(split, "text")))
    return {
        "image.pixels": pixels,
        "text.pieces": torch.tensor([text.ids for text in told]),
        "text.mask": torch.tensor([text.attention_mask for text in told]).bool(),
    }


def run(task: SearchTask, *, trials: int, seed: int) -> None:
    """Search the task's cell with one worker and tell of each trial."""
    from mmbench.engine.events import Event, TrialFinished
    from mmbench.session import open_run

    def hear(event: Event) -> None:
        if not isinstance(event, TrialFinished):
            return
        trial = event.trial
        score = trial.score if trial.score is not None else max(trial.curve, default=0.0)
        told = {"trial": trial.number, "score": score, "epochs": trial.epochs}
        print(json.dumps({**told, "cpu": processor_seconds(), "wall": time.time() - _began()}), flush=True)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        open_run(task.suite(trials=trials, seed=seed), results=folder).execute(workers=1, on_event=hear)


def processor_seconds() -> float:
    """CPU-seconds so far of this process, of its living descendants and of those that they outlived."""
    import psutil

    me, total = psutil.Process(), 0.0
    for process in (me, *me.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _began() -> float:
    import psutil

    return psutil.Process().create_time()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", choices=sorted(TASKS), required=True)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    run(TASKS[told.task], trials=told.trials, seed=told.seed)


if __name__ == "__main__":
    main()
