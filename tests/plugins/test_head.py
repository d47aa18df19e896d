"""The built-in heads: the contract for each, and what it computes against plain torch."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmbench_head.label import Label
from mmbench_head.labels import Labels
from mmbench_head.match import Match
from mmbench_head.number import Number

from mmbench import plugins
from mmbench.api.data import Task
from mmbench.api.heads import Head
from mmbench.api.parts import Fused, State
from mmbench.testing.head import HeadContract


class TestLabel(HeadContract):
    part = Label


class TestLabels(HeadContract):
    part = Labels


class TestNumber(HeadContract):
    part = Number


class TestMatch(HeadContract):
    part = Match


LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


def judging(head: Head, state: State) -> Any:
    """The head's module for a fusion that gives logits."""
    return head.build(state, None, 0.0, {})


@pytest.mark.parametrize("together", [False, True])
def test_label(together: bool) -> None:
    truth = np.array([0, 1, 2, 0, 1, 2])
    state = Label().fit(Label.target("y"), truth, ["a", "b", "c"])
    module, target = judging(Label(), state), torch.from_numpy(Label().encode(state, truth))
    module = module.together() if together else module
    torch.testing.assert_close(module.loss(Fused(logits=LOGITS), target), F.cross_entropy(LOGITS, target))
    torch.testing.assert_close(module.predict(Fused(logits=LOGITS)), LOGITS.softmax(1))


def test_labels() -> None:
    truth = (np.arange(18).reshape(6, 3) % 2).astype(np.float32)
    state = Labels().fit(Labels.target("y"), truth, None)
    module = judging(Labels(), state)
    expected = F.binary_cross_entropy(LOGITS.sigmoid(), torch.from_numpy(truth))
    torch.testing.assert_close(module.loss(Fused(logits=LOGITS), torch.from_numpy(truth)), expected)
    torch.testing.assert_close(module.predict(Fused(logits=LOGITS)), LOGITS.sigmoid())


def test_number() -> None:
    truth = np.array([8.0, 12.0], np.float32)
    state = Number().fit(Number.target("y"), truth, None)
    assert state == {"outputs": 1, "mean": 10.0, "deviation": 2.0}
    encoded = torch.from_numpy(Number().encode(state, truth))
    torch.testing.assert_close(encoded, torch.tensor([-1.0, 1.0]))
    module, fused = judging(Number(), state), Fused(logits=encoded.unsqueeze(1))
    torch.testing.assert_close(module.predict(fused), torch.from_numpy(truth))
    assert module.loss(fused, torch.zeros(2)) == 1


def test_a_match_needs_both_sides() -> None:
    target = Match.target(left=("a", "b"), right=("c",))
    reasons = [
        Match().supports(Task("t", "d", dict.fromkeys(seen, "text"), target, "mrr"))
        for seen in ("ac", "abc", "ab", "c")
    ]
    assert reasons == [None, None, *["retrieval needs a modality of each side"] * 2]


def test_what_a_head_needs_of_a_fusion() -> None:
    catalog = plugins.load()

    class Vector(Label):
        name = "vector"
        needs = ("tokens", "vector")

    assert Vector().misfit(catalog.fusions["concat"]) is None
    assert Vector().misfit(catalog.fusions["majority"]) is None
    assert Vector().misfit(catalog.fusions["tmc"]) == "gives logits, a vector needs tokens or vector"
