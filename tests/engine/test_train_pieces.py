"""Gradients that are clipped, and batches that go through the model in pieces."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmbench_head.modules.decision import Label
from torch import nn

from mmbench.engine.learn.train import Lesson, Training
from mmbench.errors import TrainingError
from tests.engine.rules import recipe as told
from tests.engine.test_train import Identity, Linear, data, fit, judging, model, truth


def test_clipped_and_accumulated_equals_a_plain_loop() -> None:
    """Batches of 32 in pieces of 7 and 6, their gradients held to a norm of 0.05: one epoch against torch's own."""
    how: dict[str, Any] = {"epochs": 1, "patience": 9, "lr": 0.01, "weight_decay": 0.0, "batch_size": 32, "seed": 5}
    train = data()
    ours, free = model(), model()
    fit(ours, train, told(**how, clip=0.05, accumulate=5), valid=train, score=lambda _: 0.0)
    fit(free, train, told(**how), valid=train, score=lambda _: 0.0)
    plain = model()
    optimizer = torch.optim.AdamW(plain.parameters(), lr=0.01, weight_decay=0.0)
    for step, rows in enumerate(torch.randperm(96, generator=torch.Generator().manual_seed(5)).split(32)):
        progress = step / 3
        optimizer.param_groups[0]["lr"] = 0.01 * (
            1e-3 if not step else 0.5 * (1 + math.cos(math.pi * (progress - 0.05) / 0.95))
        )
        optimizer.zero_grad()
        F.cross_entropy(plain(train.batch(rows)), truth(train)[rows]).backward()
        norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.05)
        assert norm > 0.05
        optimizer.step()
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=1e-4, atol=1e-6)
    clipped, longer = (net.get_parameter("fusion.linear.weight") for net in (ours, free))
    assert not torch.allclose(clipped, longer, atol=1e-5)


def test_pieces_of_a_batch_have_two_rows_at_least() -> None:
    sizes: list[int] = []

    class Looking(Identity):
        def forward(self, arrays: dict[str, torch.Tensor]) -> torch.Tensor:
            if self.training:
                sizes.append(len(arrays["x"]))
            return super().forward(arrays)

    net = judging({"a": Looking()}, Linear(5, 4), Label(4, None, 0.0))
    how = told(epochs=1, patience=1, lr=0.01, weight_decay=0.0, batch_size=7, seed=0, accumulate=64)
    fit(net, data(14), how, valid=data(14), score=lambda _: 0.0)
    assert sizes == [3, 2, 2, 3, 2, 2]


def test_an_objective_of_whole_batches_can_t_be_accumulated() -> None:
    class Steers(nn.Module):
        def on_gradients(self, gradients: Any, *_: Any) -> Any:
            return gradients

    net = model()
    net.objective = Steers()
    how = told(epochs=1, patience=1, lr=0.01, weight_decay=0.0, batch_size=32, seed=0, accumulate=2)
    with pytest.raises(TrainingError, match=r"train.accumulate: this objective changes the gradients of whole batches"):
        Training(net, how, Lesson(data(), data(), lambda _: 0.0))
