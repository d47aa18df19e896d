"""Objectives against their equations, written again in NumPy."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from mmbench_objective.alignment import Contrastive
from mmbench_objective.balance import ModalityDropout, OgmGe
from mmbench_objective.modules.alignment import info_nce
from torch import Tensor

import mmbench as mb
from mmbench.testing.rules.features import INPUTS, nothing, some, without

Array = np.ndarray[Any, Any]
NAMES = sorted(INPUTS)
ROWS = 12
CLASSES = 3
TARGETS = {
    "label": torch.arange(ROWS) % CLASSES,
    "labels": (torch.arange(ROWS * CLASSES).reshape(ROWS, CLASSES) % 2).float(),
    "number": torch.linspace(-1.5, 1.5, ROWS),
}


def ogm_ge(names: list[str], target: str, *, alpha: float = 0.4, noise: float = 0.0) -> Any:
    torch.manual_seed(0)
    inputs = {m: INPUTS[m] for m in names}
    module = OgmGe().build(inputs, 1 if target == "number" else CLASSES, {"alpha": alpha, "noise": noise})
    with torch.no_grad():
        for number, m in enumerate(names):
            module.heads[m].weight.mul_(1 + number)
    return module


def strengths(module: Any, features: Mapping[str, mb.Features], target: str) -> dict[str, float]:
    """s_m: the mean likelihood of the truth, over the rows that have m."""
    found = {}
    truth = TARGETS[target].numpy()
    for m in module.names:
        rows = features[m].present.numpy()
        scores = module.heads[m](features[m].pooled).detach().numpy()
        if target == "label":
            likely = (np.exp(scores) / np.exp(scores).sum(1, keepdims=True))[np.arange(ROWS), truth]
        elif target == "labels":
            right = 1 / (1 + np.exp(-scores))
            likely = np.where(truth == 1, right, 1 - right).mean(1)
        else:
            likely = np.exp(-((scores[:, 0] - truth) ** 2) / 2)
        found[m] = float(likely[rows].mean())
    return found


@pytest.mark.parametrize("target", ["label", "labels", "number"])
def test_ogm_ge_coefficients_of_two_are_the_papers(target: str) -> None:
    """Peng 2022, equations 8 to 10: the ratio of the summed scores; 1 - tanh(alpha ratio) for the stronger, 1 else."""
    module = ogm_ge(["image", "text"], target)
    features = some(INPUTS, ROWS)
    s = strengths(module, features, target)
    ratio = {"image": s["image"] / s["text"], "text": s["text"] / s["image"]}
    expected = [1 - np.tanh(0.4 * ratio[m]) if ratio[m] > 1 else 1.0 for m in ("image", "text")]
    assert sorted(expected)[0] < 1 == sorted(expected)[1]
    np.testing.assert_allclose(module.coefficients(features, TARGETS[target]).detach(), expected, rtol=1e-5)


def test_ogm_ge_of_three_compares_with_the_mean_of_the_others() -> None:
    module = ogm_ge(NAMES, "label")
    features = without(some(INPUTS, ROWS), "text", slice(0, 5))
    s = strengths(module, features, "label")
    expected = []
    for m in NAMES:
        ratio = s[m] / np.mean([s[n] for n in NAMES if n != m])
        expected.append(1 - np.tanh(0.4 * ratio) if ratio > 1 else 1.0)
    np.testing.assert_allclose(module.coefficients(features, TARGETS["label"]).detach(), expected, rtol=1e-5)


def test_ogm_ge_a_modality_that_the_batch_lacks_has_no_say() -> None:
    features = some(INPUTS, ROWS)
    two = ogm_ge(["image", "text"], "label")
    three = ogm_ge(NAMES, "label")
    three.heads.load_state_dict({**three.heads.state_dict(), **two.heads.state_dict()})
    expected = dict(zip(two.names, two.coefficients(features, TARGETS["label"]), strict=True))
    found = dict(zip(NAMES, three.coefficients(without(features, "number"), TARGETS["label"]), strict=True))
    for m in ("image", "text"):
        torch.testing.assert_close(found[m], expected[m])
    assert float(found["number"].detach()) == 1
    alone = without(without(features, "number"), "text")
    assert three.coefficients(alone, TARGETS["label"]).tolist() == [1, 1, 1]


def gradients() -> dict[str, Tensor]:
    torch.manual_seed(1)
    names = [f"encoders.{m}.{kind}" for m in ("image", "text") for kind in ("weight", "bias")] + ["fusion.weight"]
    return {name: torch.randn(200, 100) if name.endswith("weight") else torch.randn(50) for name in names}


def test_ogm_ge_scales_the_encoders_gradients() -> None:
    module, features = ogm_ge(["image", "text"], "label"), some(INPUTS, ROWS)
    image, text = module.coefficients(features, TARGETS["label"]).tolist()
    given = gradients()
    found = module.on_gradients(given, features, mb.Fused(), TARGETS["label"], torch.Generator().manual_seed(0))
    for name, gradient in given.items():
        factor = image if "image" in name else text if "text" in name else 1.0
        torch.testing.assert_close(found[name], factor * gradient)


def test_ogm_ge_noise_has_the_gradients_deviation() -> None:
    module, features = ogm_ge(["image", "text"], "label", noise=0.5), some(INPUTS, ROWS)
    coefficients = dict(zip(module.names, module.coefficients(features, TARGETS["label"]).tolist(), strict=True))
    given = gradients()
    found = module.on_gradients(given, features, mb.Fused(), TARGETS["label"], torch.Generator().manual_seed(0))
    for m, factor in coefficients.items():
        weight, bias = f"encoders.{m}.weight", f"encoders.{m}.bias"
        noise = found[weight] - factor * given[weight]
        assert float(noise.std()) == pytest.approx(0.5 * float(given[weight].std()), rel=0.03)
        assert abs(float(noise.mean())) < 0.02
        torch.testing.assert_close(found[bias], factor * given[bias])
    torch.testing.assert_close(found["fusion.weight"], given["fusion.weight"])


@pytest.mark.parametrize("target", ["label", "labels", "number"])
def test_ogm_ge_heads_learn_and_encoders_do_not_feel_it(target: str) -> None:
    module = ogm_ge(NAMES, target)
    features = some(INPUTS, ROWS)
    for f in features.values():
        f.tokens.requires_grad_()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = module.loss(features, mb.Fused(), TARGETS[target])["heads"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(f.tokens.grad is None for f in features.values())


def test_modality_dropout_never_drops_the_last_one() -> None:
    features = without(some(INPUTS, 3000), "text", slice(0, 1000))
    features = without(features, "number", slice(0, 500))
    module = ModalityDropout().build(INPUTS, CLASSES, {"p": 0.6})
    found = module.on_features(features, torch.Generator().manual_seed(0))
    before, after = (torch.stack([f[m].present for m in NAMES], dim=1) for f in (features, found))
    assert after.any(1).all()
    assert (before | ~after).all(), "a missing modality came back"
    assert after[:500, NAMES.index("image")].all(), "the only modality was dropped"
    # One of three stays if all three fall under p: with probability p^3 each for one chosen at random.
    expected = 1 - 0.6 + 0.6**3 / 3
    assert after[1000:].float().mean(0).tolist() == pytest.approx([expected] * 3, abs=0.04)


def test_modality_dropout_leaves_what_it_keeps_and_clears_the_rest() -> None:
    features = some(INPUTS, 50)
    features = {m: mb.Features(f.tokens, f.mask, (f.tokens * 2,)) for m, f in features.items()}
    found = ModalityDropout().build(INPUTS, CLASSES, {"p": 0.5}).on_features(features, torch.Generator().manual_seed(0))
    for m, f in features.items():
        kept = found[m].present
        assert 5 < int(kept.sum()) < 45
        for new, old in ((found[m].tokens, f.tokens), (found[m].mask, f.mask), (found[m].layers[0], f.layers[0])):
            assert torch.equal(new[kept], old[kept])
            assert not new[~kept].any()


def test_info_nce() -> None:
    """CLIP's pseudocode: cross-entropy of rows and of columns, against the diagonal."""
    draw = np.random.default_rng(0)
    scores, rows = draw.normal(size=(6, 6)), np.array([True, True, False, True, False, True])
    kept = scores[np.ix_(rows, rows)]
    forward = np.log(np.exp(kept).sum(1)) - kept.diagonal()
    backward = np.log(np.exp(kept).sum(0)) - kept.diagonal()
    found = info_nce(torch.from_numpy(scores), torch.from_numpy(rows))
    assert float(found) == pytest.approx((forward.mean() + backward.mean()) / 2)
    assert float(info_nce(torch.from_numpy(scores), torch.zeros(6, dtype=torch.bool))) == 0


@pytest.mark.parametrize("learned", [True, False])
def test_contrastive(learned: bool) -> None:
    torch.manual_seed(0)
    settings = {"weight": 0.3, "temperature": 0.2, "learned": learned, "size": 4}
    module = Contrastive().build(INPUTS, CLASSES, settings)
    assert ("log_temperature" in dict(module.named_parameters())) == learned
    features = without(some(INPUTS, ROWS), "text", slice(0, 4))
    found = {m: module.project[m](features[m].pooled).detach() for m in NAMES}
    found = {m: z / torch.linalg.vector_norm(z, dim=1, keepdim=True).clamp(min=1e-12) for m, z in found.items()}
    terms = []
    for a, b in (("image", "number"), ("image", "text"), ("number", "text")):
        rows = features[a].present & features[b].present
        scores = found[a][rows] @ found[b][rows].T / 0.2
        index = torch.arange(len(scores))
        both = [torch.nn.functional.cross_entropy(s, index) for s in (scores, scores.T)]
        terms.append(sum(both) / 2)
    loss = module.loss(features, mb.Fused(), TARGETS["label"])["contrastive"]
    torch.testing.assert_close(loss, 0.3 * torch.stack([torch.as_tensor(t) for t in terms]).mean())
    assert float(module.loss(nothing(features), mb.Fused(), TARGETS["label"])["contrastive"].detach()) == 0


@pytest.mark.parametrize("part", [OgmGe, ModalityDropout, Contrastive])
def test_one_modality_is_too_few(part: type[mb.Objective]) -> None:
    assert part().supports(mb.Task("t", "d", {"a": "text"}, mb.Label("y"), "m")) == "needs at least two modalities"
    assert part().supports(mb.Task("t", "d", {"a": "text", "b": "text"}, mb.Label("y"), "m")) is None
