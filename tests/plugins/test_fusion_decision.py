"""Decision-level fusions and baselines against their equations."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from mmbench_fusion.baseline import Forest, Logistic, Majority
from mmbench_fusion.decision import Dot, MeanLogits, Tmc
from mmbench_fusion.modules.decision import combine, divergence_from_uniform, evidential_loss
from scipy.special import digamma, gammaln
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from torch.distributions import Dirichlet, kl_divergence

import mmbench as mb
from mmbench.testing.rules.features import INPUTS, nothing, some, without

Array = np.ndarray[Any, Any]
CLASSES = 4
TASK = mb.Task("t", "d", {"a": "text", "b": "image"}, mb.Match(("a",), ("b",)), "recall")


def dempster(masses: list[tuple[Array, float]]) -> tuple[Array, float]:
    """Dempster's rule on focal sets, spelled out: each pair of sets meets, conflict is left out and the rest scaled.

    A mass is (belief in each class, what is left for the set of all classes).
    """
    belief, doubt = masses[0]
    for other, other_doubt in masses[1:]:
        sets = [*range(CLASSES), None]  # None: the set of all classes
        met: dict[int | None, float] = dict.fromkeys(sets, 0.0)
        for one, two in product(sets, sets):
            mass = (doubt if one is None else belief[one]) * (other_doubt if two is None else other[two])
            if one is None or two is None or one == two:
                met[two if one is None else one] += mass
        total = sum(met.values())
        belief, doubt = np.array([met[k] / total for k in range(CLASSES)]), met[None] / total
    return belief, doubt


@pytest.mark.parametrize("modalities", [1, 2, 3, 5])
def test_tmc_combines_by_dempsters_rule(modalities: int) -> None:
    evidence = torch.rand(6, modalities, CLASSES, generator=torch.Generator().manual_seed(0)).double() * 20
    for row, fused in zip(evidence.numpy(), combine(evidence).numpy(), strict=True):
        strengths = row.sum(1) + CLASSES
        belief, doubt = dempster([(e / s, CLASSES / s) for e, s in zip(row, strengths, strict=True)])
        np.testing.assert_allclose(fused, belief * CLASSES / doubt, rtol=1e-10)


def test_tmc_a_vacuous_opinion_changes_nothing() -> None:
    torch.manual_seed(0)
    module = Tmc().build(INPUTS, CLASSES, {"annealing": 0.5})
    features = some(INPUTS, 5)
    names = ("image", "number")
    smaller = Tmc().build({m: INPUTS[m] for m in names}, CLASSES, {"annealing": 0.5})
    smaller.load_state_dict({k: v for k, v in module.state_dict().items() if "text" not in k})
    expected = smaller({m: features[m] for m in names}).logits
    torch.testing.assert_close(module(without(features, "text")).logits, expected)


def test_tmc_probabilities_are_the_dirichlets_mean() -> None:
    torch.manual_seed(0)
    module = Tmc().build(INPUTS, CLASSES, {"annealing": 0.5})
    fused = module(some(INPUTS, 5))
    alpha = fused.extras["fused"] + 1
    torch.testing.assert_close(fused.logits.softmax(1), Dirichlet(alpha).mean)
    torch.testing.assert_close(module(nothing(some(INPUTS, 5))).logits, torch.zeros(5, CLASSES))


def test_tmc_agreement_lowers_doubt_and_conflict_spreads_belief() -> None:
    sure = torch.tensor([[9.0, 0, 0, 0]])
    other = torch.tensor([[0, 9.0, 0, 0]])
    agreed, torn = combine(torch.stack([sure, sure], 1)), combine(torch.stack([sure, other], 1))
    assert agreed.sum() > torn.sum()
    assert float(agreed[0, 0]) > 9
    torch.testing.assert_close(torn[0, 0], torn[0, 1])


def test_tmc_loss() -> None:
    evidence = torch.rand(6, CLASSES, generator=torch.Generator().manual_seed(1)).double() * 5
    target = torch.arange(6) % CLASSES
    alpha = evidence.numpy() + 1
    truth = np.eye(CLASSES)[target]
    expected = (truth * (digamma(alpha.sum(1, keepdims=True)) - digamma(alpha))).sum(1)
    wrong = truth + (1 - truth) * alpha
    flat = torch.ones(CLASSES, dtype=torch.float64)
    divergence = kl_divergence(Dirichlet(torch.from_numpy(wrong)), Dirichlet(flat)).numpy()
    by_hand = gammaln(wrong.sum(1)) - gammaln(CLASSES) - gammaln(wrong).sum(1)
    by_hand += ((wrong - 1) * (digamma(wrong) - digamma(wrong.sum(1, keepdims=True)))).sum(1)
    np.testing.assert_allclose(divergence_from_uniform(torch.from_numpy(wrong)), by_hand)
    np.testing.assert_allclose(by_hand, divergence)
    for rate in (0.0, 0.3, 1.0):
        found = evidential_loss(evidence, target, torch.tensor(rate, dtype=torch.float64))
        np.testing.assert_allclose(found, expected + rate * divergence)


def test_tmc_loss_counts_present_modalities_and_anneals() -> None:
    torch.manual_seed(0)
    module = Tmc().build(INPUTS, CLASSES, {"annealing": 0.5})
    target = torch.arange(5) % CLASSES
    features = without(some(INPUTS, 5), "text", slice(0, 2))
    fused = module(features)
    for epoch, rate in ((None, 0.0), (0, 0.5), (1, 1.0), (2, 1.0)):
        if epoch is not None:
            module.on_epoch(mb.Epoch(epoch, 4, {}))
        expected = evidential_loss(fused.extras["fused"], target, torch.tensor(rate))
        for number, modality in enumerate(sorted(INPUTS)):
            alone = evidential_loss(fused.extras["evidence"][:, number], target, torch.tensor(rate))
            expected = expected + alone * features[modality].present
        torch.testing.assert_close(module.loss(fused, target), {"task": expected.mean()})


def test_tmc_supports_labels_only() -> None:
    for target in (mb.Labels("y"), mb.Number("y"), TASK.target):
        assert Tmc().supports(mb.Task("t", "d", {"a": "text"}, target, "m"))
    assert Tmc().supports(mb.Task("t", "d", {"a": "text"}, mb.Label("y"), "m")) is None


def test_mean_logits() -> None:
    torch.manual_seed(0)
    module = MeanLogits().build(INPUTS, CLASSES, {})
    features = without(some(INPUTS, 5), "text", slice(0, 2))
    with torch.no_grad():
        fused = module(features)
        for row in range(5):
            votes = [
                module.heads.linear[m](f.tokens[row][f.mask[row]].mean(0))
                for m, f in features.items()
                if f.mask[row].any()
            ]
            torch.testing.assert_close(fused.logits[row], sum(votes) / len(votes))
            assert float(fused.weights["image"][row]) == pytest.approx(1 / len(votes))


def test_dot() -> None:
    torch.manual_seed(0)
    sides = {m: INPUTS[m] for m in ("image", "text")}
    module = Dot().build(sides, 1, {"size": 8, "scale": 7.0})
    features = without(some(sides, 5), "text", slice(0, 1))
    logits = module(features).logits
    left, right = (module.project[m](features[m].pooled) for m in ("image", "text"))
    expected = 7 * torch.nn.functional.cosine_similarity(left, right)
    torch.testing.assert_close(logits[:, 0], expected)
    assert logits[0].item() == 0
    assert Dot().supports(TASK) is None
    assert Dot().supports(mb.Task("t", "d", {"a": "text", "b": "image"}, mb.Label("y"), "m"))
    assert "not 3" in str(Dot().supports(mb.Task("t", "d", dict.fromkeys("abc", "text"), TASK.target, "m")))


def test_majority() -> None:
    X = {"a": np.zeros((4, 2), np.float32)}
    estimator = Majority().build({"a": mb.FeatureSpec(2, 1)}, 3, {})
    np.testing.assert_array_equal(estimator.fit(X, np.array([2, 1, 2, 0])).predict_proba(X), [[0, 0, 1]] * 4)
    np.testing.assert_array_equal(estimator.predict(X), [2] * 4)
    np.testing.assert_array_equal(estimator.fit(X, np.array([2.0, 1, 2, 1])).predict(X), [1.5] * 4)
    shares = estimator.fit(X, np.array([[0.0, 1], [1, 1], [0, 1], [0, 0]])).predict_proba(X)
    np.testing.assert_array_equal(shares, [[0.25, 0.75]] * 4)


def test_logistic_is_scikit_learns() -> None:
    draw = np.random.default_rng(0)
    X = {m: draw.normal(3, 5, (50, 4)).astype(np.float32) for m in ("b", "a")}
    joined = np.concatenate([X["a"], X["b"]], axis=1)
    standard = (joined - joined.mean(0)) / joined.std(0)
    specs = {m: mb.FeatureSpec(4, 1) for m in X}
    y = draw.integers(0, 3, 50)
    found = Logistic().build(specs, 3, {"C": 0.1}).fit(X, y).predict_proba(X)
    expected = LogisticRegression(C=0.1, max_iter=300).fit(standard, y).predict_proba(standard)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    number = draw.normal(size=50)
    found = Logistic().build(specs, 1, {"C": 0.1}).fit(X, number).predict(X)
    np.testing.assert_allclose(found, Ridge(alpha=10.0).fit(standard, number).predict(standard), atol=1e-3)


def test_logistic_keeps_the_column_of_a_class_that_train_lacks() -> None:
    X = {"a": np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)}
    estimator = Logistic().build({"a": mb.FeatureSpec(3, 1)}, 4, {"C": 1.0}).fit(X, np.arange(20) % 2 * 3)
    probabilities = estimator.predict_proba(X)
    assert probabilities.shape == (20, 4)
    assert not probabilities[:, 1:3].any()
    assert (probabilities[:, [0, 3]] > 0).all()


def test_forest_is_extra_trees_on_joined_features() -> None:
    generator = np.random.default_rng(0)
    X = {"b": generator.normal(size=(60, 2)).astype(np.float32), "a": generator.normal(size=(60, 3)).astype(np.float32)}
    y = (X["a"][:, 0] * X["b"][:, 1] > 0).astype(int)
    joined = np.concatenate([X["a"], X["b"]], axis=1)
    specs = {m: mb.FeatureSpec(x.shape[1], 1) for m, x in X.items()}
    np.random.seed(3)
    found = Forest().build(specs, 2, {"leaf": 2, "breadth": 1.5}).fit(X, y).predict_proba(X)
    settings = {"n_estimators": 100, "min_samples_leaf": 2, "max_features": 1.5 / 5**0.5}
    np.random.seed(3)
    expected = ExtraTreesClassifier(**settings).fit(joined, y).predict_proba(joined)
    np.testing.assert_allclose(found, expected)
