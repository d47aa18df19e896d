"""An epoch on stored features against one that runs the frozen encoders again, as AutoMM and MultiBench++ do."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks import tasks
from benchmarks.cases import rule
from benchmarks.measure import Figure, Side, compare, take_turns
from benchmarks.plain import encoders
from benchmarks.plain.script import Network
from mmbench.engine.learn.train import Recipe, Training
from mmbench.engine.space import default_params

STORED, AGAIN = "stored features", "encoders run again"
BATCH = 64


def measure(*, quick: bool = False, rows: int | None = None, rounds: int | None = None) -> Iterator[Figure]:
    """EfficientNet-lite0 on pictures and MiniLM on texts, one epoch of training on a few hundred rows."""
    rows = rows or (64 if quick else 300)
    task = tasks.SearchTask("emoji", "emoji_group", tasks.EMOJI, limit=rows)
    with tempfile.TemporaryDirectory(prefix="mmbench-benchmark-") as folder:
        file = Path(folder) / "rows.safetensors"
        tasks.export(task, file)
        arrays = load_file(file)
    readings = take_turns({STORED: _stored(task), AGAIN: _again(arrays)}, rounds or (2 if quick else 5))
    yield compare(
        f"one epoch, frozen encoders: {AGAIN} / {STORED}", readings, over=(AGAIN, STORED), facts={"rows": rows}
    )


def _stored(task: tasks.SearchTask) -> Side:
    """mmbench's own epoch."""
    workspace = tasks.workspace(task, trials=1)
    params = default_params(workspace.cell, workspace.catalog)
    lesson = workspace.lesson(params)
    recipe = Recipe(1, 1, BATCH, seed=0, rule=rule(lr=2e-3, weight_decay=1e-2))

    def ready() -> Callable[[], Any]:
        training = Training(workspace.model(params, 0), recipe, lesson)
        return training.advance

    return ready


def _again(arrays: dict[str, Tensor]) -> Side:
    """The same model on pixels and word pieces."""
    names = (*encoders.ARRAYS["emoji_group, frozen"], "target")
    train, valid = ([arrays[f"{split}.{name}"] for name in names] for split in ("train", "valid"))
    image = encoders.FrozenImage(encoders.Projection(encoders.IMAGE, 64, 0.1))
    text = encoders.FrozenText(encoders.Projection(encoders.TEXT, 64, 0.1))
    model = Network([(image, 1, 64), (text, 2, 64)], 128, int(arrays["classes"]), 0.2)
    return lambda: lambda: _epoch(model, train, valid)


def _epoch(model: nn.Module, train: list[Tensor], valid: list[Tensor]) -> None:
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=2e-3, weight_decay=1e-2, fused=True)
    model.train()
    for rows in torch.randperm(len(train[0])).split(BATCH):
        *batch, target = (tensor[rows] for tensor in train)
        optimizer.zero_grad()
        F.cross_entropy(model(*batch), target).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        for start in range(0, len(valid[0]), BATCH):
            model(*(tensor[start : start + BATCH] for tensor in valid[:-1]))
