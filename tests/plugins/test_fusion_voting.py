"""Fusions that weigh decisions against their equations in NumPy, a row at a time."""

from typing import Any

import numpy as np
import pytest
import torch
from mmbench_fusion.voting.quality import Pdf, Qmf
from scipy.special import expit, log_softmax, logsumexp, softmax

import mmbench as mb
from mmbench.testing.rules.features import INPUTS
from tests.plugins.test_fusion_vector import NAMES, Array, batch, rows

CLASSES = 4
TARGET = torch.arange(7) % CLASSES


def built(part: mb.Fusion, **params: Any) -> tuple[Any, dict[str, Array]]:
    torch.manual_seed(0)
    module = part.build(INPUTS, CLASSES, params).double().eval()
    return module, {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def votes(state: dict[str, Array], key: str = "heads") -> list[dict[str, Array]]:
    """Each row's logits of the modalities that it has."""
    at = f"{key}.linear"
    return [
        {m: state[f"{at}.{m}.weight"] @ x + state[f"{at}.{m}.bias"] for m in NAMES if (x := row[m]) is not None}
        for row in rows(batch())
    ]


def entropy(logits: Array, target: int) -> float:
    return -float(log_softmax(logits)[target])


def mean_of_each(found: list[dict[str, float]]) -> float:
    """The sum over modalities of the mean over the rows that have it."""
    return float(sum(np.mean([row[m] for row in found if m in row]) for m in NAMES))


def test_qmf() -> None:
    module, state = built(Qmf(), ranking=0.3)
    fused, alone = module(batch()), votes(state)
    logits = [sum((logsumexp(v) / 10 * v for v in row.values()), start=np.zeros(CLASSES)) for row in alone]
    np.testing.assert_allclose(fused.logits.detach(), logits, rtol=1e-4, atol=1e-6)
    target = TARGET.tolist()
    own = mean_of_each([{m: entropy(v, y) for m, v in row.items()} for row, y in zip(alone, target, strict=True)])
    ranked: dict[str, list[float]] = {m: [] for m in NAMES}
    for i in range(7):
        j = (i + 1) % 7
        for m in set(alone[i]) & set(alone[j]):
            q = [softmax(alone[r][m])[target[r]] for r in (i, j)]
            w = [logsumexp(alone[r][m]) / 10 for r in (i, j)]
            ranked[m].append(max(0.0, abs(q[0] - q[1]) - np.sign(q[0] - q[1]) * (w[0] - w[1])))
    expected = {
        "task": np.mean([entropy(v, y) for v, y in zip(logits, target, strict=True)]) + own,
        "ranking": 0.3 * sum(np.mean(r) for r in ranked.values()),
    }
    found = module.loss(fused, TARGET)
    assert {name: term.item() for name, term in found.items()} == pytest.approx(expected, rel=1e-4)


def test_pdf() -> None:
    module, state = built(Pdf())
    fused = module(batch())
    alone, sure = votes(state), votes(state, "sureness")
    logits, losses = [], []
    for scores, mono, y in zip(alone, sure, TARGET.tolist(), strict=True):
        c = {m: float(expit(s[0])) for m, s in mono.items()}
        u = {m: np.abs(softmax(v) - 1 / CLASSES).mean() for m, v in scores.items()}
        belief = {}
        for m in scores:
            others = [n for n in scores if n != m]
            holo = sum(np.log(c[n]) for n in others) / sum(np.log(c[n]) for n in scores) if others else 0
            belief[m] = (c[m] + holo) * (min(1, u[m] / np.mean([u[n] for n in others])) if others else 1)
        weights = dict(zip(belief, softmax(list(belief.values())) if belief else [], strict=True))
        logits.append(sum((weights[m] * v for m, v in scores.items()), start=np.zeros(CLASSES)))
        losses.append({m: entropy(v, y) + (c[m] - softmax(v)[y]) ** 2 for m, v in scores.items()})
    np.testing.assert_allclose(fused.logits.detach(), logits, rtol=1e-4, atol=1e-6)
    joint = np.mean([entropy(v, y) for v, y in zip(logits, TARGET.tolist(), strict=True)])
    assert module.loss(fused, TARGET)["task"].item() == pytest.approx(joint + mean_of_each(losses), rel=1e-4)


@pytest.mark.parametrize("part", [Qmf, Pdf])
def test_weights_are_constants_for_the_joint_loss(part: type[mb.Fusion]) -> None:
    """The gradient of the fused logits is that of a weighted sum whose weights are given."""
    module, _ = built(part(), **({"ranking": 0.1} if part is Qmf else {}))
    fused = module(batch())
    scores = fused.extras["alone"]
    gradient = torch.autograd.grad(fused.logits[3].sum(), scores)[0][3]
    torch.testing.assert_close(gradient, gradient[:, :1].expand_as(gradient))
