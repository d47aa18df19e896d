"""A plugin for chaos: a small data set and an encoder that take long enough to be killed at their work."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import mmbench as mb
from mmbench.api.data import Target
from mmbench.api.progress import report

ROWS = {"train": 160, "validation": 60, "test": 60}


class Slow(mb.Dataset):
    """Two tabular views of a class; fetching them takes a while."""

    name = "slow"
    columns = {"left": "tabular", "right": "tabular"}
    target: ClassVar[Target] = mb.Label("label")
    licence = "CC0-1.0"

    def load(self, cache: Path) -> Any:
        import numpy as np
        from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

        rng = np.random.default_rng(7)
        form = Features(left=List(Value("float32")), right=List(Value("float32")), label=ClassLabel(names=list("abcd")))
        splits = {}
        for step, (split, n) in enumerate(ROWS.items()):
            report("slow: fetch", step, len(ROWS))
            time.sleep(0.1)
            label = rng.integers(0, 4, n)
            left = np.c_[label % 2, np.zeros((n, 2))] * 2 + rng.normal(0, 0.6, (n, 3))
            right = np.c_[label // 2, np.zeros((n, 2))] * 2 + rng.normal(0, 0.6, (n, 3))
            rows = {"left": left.tolist(), "right": right.tolist(), "label": label.tolist()}
            splits[split] = Dataset.from_dict(rows, features=form)
        return DatasetDict(splits)


class Patient(mb.Encoder):
    """Standardised columns through one layer; preparing them takes a while."""

    name = "patient"
    kind = "tabular"
    space = {"width": mb.Choice((8, 16), default=8)}

    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        import numpy as np

        cells = np.stack([np.asarray(row, dtype=np.float64) for row in column])
        return {"mean": cells.mean(0), "deviation": cells.std(0)}

    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> Any:
        import numpy as np

        if len(column) > 32:  # not when it is timed
            time.sleep(0.05)
        cells = np.stack([np.asarray(row, dtype=np.float64) for row in column])
        return {"cells": ((cells - state["mean"]) / state["deviation"]).astype(np.float32)}

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> Any:
        import torch
        from torch import nn

        class Layer(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(len(state["mean"]), params["width"])

            def forward(self, arrays: dict[str, torch.Tensor]) -> mb.Features:
                tokens = torch.relu(self.layer(arrays["cells"].float())).unsqueeze(1)
                return mb.Features(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool))

        return Layer()


@mb.hookimpl
def mmbench_datasets() -> list[type[mb.Dataset]]:
    return [Slow]


@mb.hookimpl
def mmbench_encoders() -> list[type[mb.Encoder]]:
    return [Patient]
