"""The search that a good user writes without mmbench: Optuna's TPE, a DataLoader, AdamW, patience.

    python -m benchmarks.plain.script --dataset uci_mfeat --data FILE --trials 16 --seed 0 [--target 0.97]
    [--seconds 600] [--frozen]

The models, their space and the budget are those of mmbench's contender `concat`. `--data` holds arrays in memory's
form, so that neither decoding nor preparing them is on this script's account. With `--frozen` the pretrained encoders
run again in each epoch, as in AutoMM and MultiBench++, on pixels and word pieces that are ready. Prints a JSON line a
trial: {"trial", "score", "epochs", "cpu", "wall"}, seconds since the process began.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import optuna
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.plain import encoders
from benchmarks.plain.models import head

STARTED = time.perf_counter()
Change: TypeAlias = Callable[[list[Tensor]], list[Tensor]]
WIDTHS = [32, 64, 128, 256]


@dataclass(frozen=True)
class Budget:
    """What a trial may spend."""

    epochs: int = 20
    patience: int = 6


@dataclass(frozen=True)
class Data:
    """Train and validation rows as tensors, one or more a modality, and the classes last."""

    train: TensorDataset
    valid: TensorDataset
    classes: int


class Network(nn.Module):
    """Each encoder takes its share of the tensors to [B, width]; all are joined, projected and judged."""

    def __init__(self, parts: list[tuple[nn.Module, int, int]], width: int, classes: int, dropout: float):
        super().__init__()
        self.encoders = nn.ModuleList(encoder for encoder, _, _ in parts)
        self.takes = [takes for _, takes, _ in parts]
        self.fusion = nn.Linear(sum(size for _, _, size in parts), width)
        self.output = head(width, classes, dropout)

    def forward(self, *tensors: Tensor) -> Tensor:
        found, first = [], 0
        for encoder, takes in zip(self.encoders, self.takes, strict=True):
            found.append(encoder(*tensors[first : first + takes]))
            first += takes
        logits: Tensor = self.output(self.fusion(torch.cat(found, dim=1)))
        return logits


def read(dataset: str, file: Path, *, frozen: bool) -> Data:
    """The arrays of `benchmarks.tasks.export`."""
    arrays = load_file(file)
    names = encoders.ARRAYS["emoji_group, frozen" if frozen else dataset]
    train, valid = (
        TensorDataset(*(arrays[f"{split}.{name}"] for name in (*names, "target"))) for split in ("train", "valid")
    )
    return Data(train, valid, classes=int(arrays["classes"]))


def study(
    dataset: str, data: Data, *, trials: int, seed: int, budget: Budget, frozen: bool = False
) -> Iterator[tuple[int, float, int]]:
    """Search; gives (trial, its best validation accuracy, its epochs) after each trial."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for number in range(trials):
        trial = search.ask()
        torch.manual_seed(seed * 1000 + number)
        model = build(dataset, trial, data.classes, frozen=frozen)
        scores = fit(model, data, trial, budget, encoders.CHANGES.get(dataset))
        search.tell(trial, max(scores))
        yield number, max(scores), len(scores)


def build(dataset: str, trial: optuna.Trial, classes: int, *, frozen: bool) -> Network:
    """The model of one trial; the same space as mmbench's."""

    def drop(name: str) -> float:
        return trial.suggest_float(f"{name}.dropout", 0.0, 0.5)

    if dataset == "uci_mfeat":
        parts: list[tuple[nn.Module, int, int]] = []
        for view, inputs in encoders.VIEWS.items():
            width = trial.suggest_categorical(f"{view}.width", WIDTHS)
            layers = trial.suggest_int(f"{view}.layers", 1, 3)
            dropout = drop(view)
            parts.append((encoders.Perceptron(inputs, width, layers, dropout), 1, width))
        width = trial.suggest_categorical("width", WIDTHS)
    elif dataset == "emoji_group":
        sizes = {m: trial.suggest_categorical(f"{m}.width", WIDTHS) for m in ("image", "text")}
        drops = {m: drop(m) for m in sizes}
        image = encoders.Projection(encoders.IMAGE, sizes["image"], drops["image"])
        text = encoders.Projection(encoders.TEXT, sizes["text"], drops["text"])
        if frozen:
            parts = [(encoders.FrozenImage(image), 1, sizes["image"]), (encoders.FrozenText(text), 2, sizes["text"])]
        else:
            parts = [(image, 1, sizes["image"]), (text, 1, sizes["text"])]
        width = trial.suggest_categorical("width", WIDTHS)
    else:
        layers = trial.suggest_int("image.layers", 0, 2)
        flip = trial.suggest_categorical("image.flip", [False, True])
        seen = encoders.Pictures(32, layers, drop("image"), flip=flip)
        heard = encoders.Sounds(32, drop("audio"))
        parts, width = [(seen, 1, 32), (heard, 2, 32)], 64
    return Network(parts, width, classes, trial.suggest_float("dropout", 0.0, 0.6))


def fit(model: nn.Module, data: Data, trial: optuna.Trial, budget: Budget, change: Change | None) -> list[float]:
    """Train until the epochs or the patience are at an end; gives the validation accuracy of each epoch."""
    lr = trial.suggest_float("lr", 3e-4, 1e-2, log=True)
    decay = trial.suggest_float("weight_decay", 1e-5, 0.3, log=True)
    fixed = any(isinstance(module, encoders.Pictures) for module in model.modules())
    size = 32 if fixed else trial.suggest_categorical("batch_size", [32, 64, 128, 256])
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=lr, weight_decay=decay)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=budget.epochs)
    loader = DataLoader(data.train, size, shuffle=True)
    valid = DataLoader(data.valid, 256)
    scores: list[float] = []
    while len(scores) < budget.epochs:
        model.train()
        for *tensors, target in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(*(change(tensors) if change else tensors)), target).backward()
            optimizer.step()
        scheduler.step()
        scores.append(evaluate(model, valid))
        if len(scores) - 1 - scores.index(max(scores)) >= budget.patience:
            break
    return scores


def evaluate(model: nn.Module, loader: "DataLoader[Any]") -> float:
    model.eval()
    right, rows = 0, 0
    with torch.no_grad():
        for *tensors, target in loader:
            right += int((model(*tensors).argmax(1) == target).sum())
            rows += len(target)
    return right / rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=Budget.epochs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", type=float, default=2.0)
    parser.add_argument("--seconds", type=float, default=math.inf, help="of the processor; no trial begins after them")
    parser.add_argument("--frozen", action="store_true")
    told = parser.parse_args()
    torch.set_num_threads(1)
    data = read(told.dataset, told.data, frozen=told.frozen)
    budget = Budget(epochs=told.epochs)
    found = study(told.dataset, data, trials=told.trials, seed=told.seed, budget=budget, frozen=told.frozen)
    for number, score, epochs in found:
        spent = {"cpu": time.process_time(), "wall": time.perf_counter() - STARTED}
        print(json.dumps({"trial": number, "score": score, "epochs": epochs, **spent}), flush=True)
        if score >= told.target or spent["cpu"] > told.seconds:
            break


if __name__ == "__main__":
    main()
