"""Training loops without mmbench, from the barest to those of the usual libraries. Each gives its score by epoch.

`bare` does the arithmetic of mmbench's own loop and nothing else; with the same weights it gives the same scores.
The others are what users write: a DataLoader, Adam, the same number of epochs and the same batches.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.cases import Case, Split

LR, DECAY = 2e-3, 1e-2
BLOCK = 512
Loop: TypeAlias = Callable[[nn.Module, Case], list[float]]


def bare(model: nn.Module, case: Case) -> list[float]:
    """Index slices of resident tensors, fused AdamW, the learning rate of mmbench's recipe, the best weights kept."""
    views, target = case.train.views, case.train.target
    order = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=DECAY, fused=True)
    steps = max(1, len(target) // case.batch_size)
    size = math.ceil(len(target) / steps)
    scores, best = [], {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for epoch in range(case.epochs):
        model.train()
        for step, rows in enumerate(torch.randperm(len(target), generator=order).split(size)):
            progress = (epoch * steps + step) / (case.epochs * steps)
            scale = progress / 0.05 if progress < 0.05 else 0.5 * (1 + math.cos(math.pi * (progress - 0.05) / 0.95))
            optimizer.param_groups[0]["lr"] = LR * max(scale, 1e-3)
            optimizer.zero_grad()
            F.cross_entropy(model(*[view[rows] for view in views]), target[rows]).backward()
            optimizer.step()
        scores.append(_evaluate(model, case.valid))
        if scores[-1] > max(scores[:-1], default=-1.0):
            best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(best)
    return scores


def dataloader(model: nn.Module, case: Case) -> list[float]:
    """TensorDataset, DataLoader, Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    loader, valid = _loaders(case)
    scores = []
    for _ in range(case.epochs):
        model.train()
        for *views, target in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(*views), target).backward()
            optimizer.step()
        scores.append(_evaluate_loader(model, valid))
    return scores


def fabric(model: nn.Module, case: Case) -> list[float]:
    """Lightning Fabric around the same loop."""
    import logging

    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    runtime = Fabric(accelerator="cpu", devices=1)
    wrapped, optimizer = runtime.setup(model, torch.optim.Adam(model.parameters(), lr=LR))
    loader, valid = runtime.setup_dataloaders(*_loaders(case))
    scores = []
    for _ in range(case.epochs):
        wrapped.train()
        for *views, target in loader:
            optimizer.zero_grad()
            runtime.backward(F.cross_entropy(wrapped(*views), target))
            optimizer.step()
        scores.append(_evaluate_loader(wrapped, valid))
    return scores


def accelerate(model: nn.Module, case: Case) -> list[float]:
    """Hugging Face Accelerate around the same loop."""
    from accelerate import Accelerator

    runtime = Accelerator(cpu=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    model, optimizer, loader, valid = runtime.prepare(model, optimizer, *_loaders(case))
    scores = []
    for _ in range(case.epochs):
        model.train()
        for *views, target in loader:
            optimizer.zero_grad()
            runtime.backward(F.cross_entropy(model(*views), target))
            optimizer.step()
        scores.append(_evaluate_loader(model, valid))
    runtime.free_memory()
    return scores


def skorch(model: nn.Module, case: Case) -> list[float]:
    """skorch's NeuralNetClassifier, which scores the validation rows after each epoch by itself."""
    from skorch import NeuralNetClassifier
    from skorch.dataset import Dataset
    from skorch.helper import predefined_split

    valid = Dataset([view.numpy() for view in case.valid.views], case.valid.target.numpy())
    net = NeuralNetClassifier(
        _OneArgument(model),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=LR,
        max_epochs=case.epochs,
        batch_size=case.batch_size,
        iterator_train__shuffle=True,
        train_split=predefined_split(valid),
        classes=np.arange(10),
        verbose=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.fit([view.numpy() for view in case.train.views], case.train.target.numpy())
    return [float(row["valid_acc"]) for row in net.history]


LOOPS: dict[str, Loop] = {
    "DataLoader + Adam": dataloader,
    "Lightning Fabric": fabric,
    "Accelerate": accelerate,
    "skorch": skorch,
}
NEEDS = {"Lightning Fabric": "lightning_fabric", "Accelerate": "accelerate", "skorch": "skorch"}


class _OneArgument(nn.Module):
    """skorch gives a module all views as one list."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, views: list[Tensor]) -> Tensor:
        logits: Tensor = self.model(*views)
        return logits


def _loaders(case: Case) -> tuple[Any, Any]:
    train = TensorDataset(*case.train.views, case.train.target)
    valid = TensorDataset(*case.valid.views, case.valid.target)
    return DataLoader(train, case.batch_size, shuffle=True), DataLoader(valid, case.batch_size)


def _evaluate(model: nn.Module, split: Split) -> float:
    model.eval()
    with torch.inference_mode():
        right = sum(
            int((model(*views).argmax(1) == target).sum()) for *views, target in _blocks((*split.views, split.target))
        )
    return right / len(split.target)


def _blocks(tensors: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, ...]]:
    for start in range(0, len(tensors[0]), BLOCK):
        yield tuple(tensor[start : start + BLOCK] for tensor in tensors)


def _evaluate_loader(model: nn.Module, loader: Any) -> float:
    model.eval()
    right, rows = 0, 0
    with torch.no_grad():
        for *views, target in loader:
            right += int((model(*views).argmax(1) == target).sum())
            rows += len(target)
    return right / rows
