"""Fusions that weigh decisions against their equations in NumPy, a row at a time."""

from typing import Any

import numpy as np
import pytest
import torch
from mmbench_fusion.modules.decision import evidential_loss
from mmbench_fusion.voting.pools import Ecml, LearnedVote, ProductOfExperts
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


def test_learned_vote() -> None:
    module, state = built(LearnedVote())
    with torch.no_grad():
        module.say.normal_()
    expected = []
    for row in votes(state):
        say = {m: np.exp(state["say"][:, NAMES.index(m)]) for m in row}
        total = sum(say.values(), start=np.zeros(CLASSES))
        expected.append(sum((say[m] / total * v for m, v in row.items()), start=np.zeros(CLASSES)))
    np.testing.assert_allclose(module(batch()).logits.detach(), expected)


def test_product_of_experts() -> None:
    module, state = built(ProductOfExperts())
    fused, alone = module(batch()), votes(state)
    found = fused.logits.softmax(1).detach().numpy()
    for row, probability in zip(alone, found, strict=True):
        product = np.ones(CLASSES)
        for v in row.values():
            p = softmax(v)
            product = product * p ** (1 + np.sum(p * np.log(p)) / np.log(CLASSES))
        np.testing.assert_allclose(probability, product / product.sum(), rtol=1e-4)
    target = TARGET.tolist()
    own = mean_of_each([{m: entropy(v, y) for m, v in row.items()} for row, y in zip(alone, target, strict=True)])
    joint = -np.mean(np.log(found[range(7), target]))
    assert module.loss(fused, TARGET)["task"].item() == pytest.approx(joint + own, rel=1e-4)


def test_ecml() -> None:
    module, state = built(Ecml(), annealing=0.5, conflict=0.7)
    fused = module(batch())
    means: list[Array] = []
    costs: list[float] = []
    tasks: list[float] = []
    for row, y in zip(votes(state), TARGET, strict=True):
        evidence = {m: np.log1p(np.exp(v)) for m, v in row.items()}
        mean = np.mean(list(evidence.values()), axis=0) if evidence else np.zeros(CLASSES)
        means.append(mean)
        belief = {m: (e + 1) / (e + 1).sum() for m, e in evidence.items()}
        certain = {m: 1 - CLASSES / (e + 1).sum() for m, e in evidence.items()}
        pairs = [(m, n) for m in row for n in row if m != n]
        conflict = [np.abs(belief[m] - belief[n]).sum() / 2 * certain[m] * certain[n] for m, n in pairs]
        costs.append(float(np.mean(conflict)) if conflict else 0)
        losses = [evidential_loss(torch.from_numpy(e), y, torch.tensor(0.0)).item() for e in evidence.values()]
        whole = evidential_loss(torch.from_numpy(mean), y, torch.tensor(0.0)).item()
        tasks.append(whole + (float(np.mean(losses)) if losses else 0))
    np.testing.assert_allclose(fused.logits.detach(), np.log1p(means), rtol=1e-4, atol=1e-6)
    found = {name: term.item() for name, term in module.loss(fused, TARGET).items()}
    assert found == pytest.approx({"task": np.mean(tasks), "conflict": 0.7 * np.mean(costs)}, rel=1e-4)
