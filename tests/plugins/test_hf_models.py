"""Models of the hub, frozen and tuned, are what transformers alone computes; tiny ones, which are made here."""

import itertools
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmbench_hf.form import make
from mmbench_hf.modules import Dropout, LoRA, Tuned, seen
from PIL import Image
from torch import Tensor, nn

import mmbench as mb
from mmbench.api.parts import FeatureSpec
from mmbench.api.space import defaults
from mmbench.engine.learn.model import Inputs, Model, kernels, put_in, settle
from mmbench.engine.learn.optimizer import groups_of
from mmbench.engine.learn.train import Lesson, Training
from mmbench.errors import DataError
from mmbench.testing.rules import trained
from mmbench.testing.rules.part import heads, tried
from tests.engine.rules import recipe, rule
from tests.plugins import tiny

TEXTS = ["a red bird sings .", "fish", "a blue fish swims a red bird", ""]
MADE = {"bert": tiny.bert, "vit": tiny.vit, "wav2vec2": tiny.wav2vec2, "clip": tiny.clip}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder of a tiny model, by its name."""

    @cache
    def folder(name: str) -> Path:
        place = tmp_path_factory.mktemp(name)
        return MADE[name](place)

    return folder


def pictures() -> list[Image.Image]:
    drawn = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    return [Image.fromarray(one) for one in drawn]


def sounds() -> list[mb.Sound]:
    generator = np.random.default_rng(1)
    return [mb.Sound(generator.normal(0, 0.1, n).astype(np.float32), 4000) for n in (400, 300, 900)]


def encoder(kind: str, folder: Path) -> mb.Encoder:
    found = make("mine", {"type": kind, "folder": str(folder)}, Path("/"))
    assert found is not None
    return found


def fitted(part: mb.Encoder, **told: Any) -> dict[str, Any]:
    return dict(part.fit([], {**defaults(part.space, "prepare"), **told}))


def built(part: mb.Encoder, state: Mapping[str, Any], **told: Any) -> Tuned:
    module = part.build(state, {**{name: p.default for name, p in part.space.items()}, "dropout": 0.0, **told})
    assert isinstance(module, Tuned)
    return module


def tensors(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def alone(kind: str, folder: Path) -> tuple[nn.Module, dict[str, Any], Tensor | None]:
    """transformers' own model, its inputs, and which of its tokens are there."""
    from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder).eval()
    if kind == "hf_text":
        given = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
        return model, {name: given[name] for name in ("input_ids", "attention_mask")}, given["attention_mask"].bool()
    if kind == "hf_image":
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        return model, dict(processor(pictures(), return_tensors="pt")), None
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    clips = [sound.samples for sound in sounds()]
    given = extractor(
        clips, sampling_rate=4000, padding="max_length", max_length=800, truncation=True, return_tensors="pt"
    )
    states = model(**given).last_hidden_state
    return model, dict(given), model._get_feature_vector_attention_mask(states.shape[1], given["attention_mask"]).bool()


VALUES: dict[str, Sequence[Any]] = {"hf_text": TEXTS, "hf_image": pictures(), "hf_audio": sounds()}
OWN: dict[str, dict[str, Any]] = {"hf_text": {"length": 16}, "hf_image": {}, "hf_audio": {"seconds": 0.2}}
KINDS = [("hf_text", "bert"), ("hf_image", "vit"), ("hf_audio", "wav2vec2")]


def pooled(states: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return states.mean(1)
    weight = mask.unsqueeze(-1).float()
    return (states * weight).sum(1) / weight.sum(1)


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_frozen_features_are_those_of_transformers(models: Any, kind: str, name: str) -> None:
    part = encoder(kind, models(name))
    model, given, mask = alone(kind, models(name))
    with torch.inference_mode():
        states = model(**given).last_hidden_state
    for tokens, expected in (("mean", pooled(states, mask)), ("first", states[:, 0])):
        found = part.transform(fitted(part, tokens=tokens, **OWN[kind]), VALUES[kind])
        np.testing.assert_allclose(found["features"], expected, rtol=1e-4, atol=1e-5)
    found = part.transform(fitted(part, tokens="all", **OWN[kind]), VALUES[kind])
    assert ("mask" in found) == (mask is not None)
    steps = states.shape[1]
    if mask is not None:
        np.testing.assert_array_equal(found["mask"][:, :steps], mask)
        assert not found["mask"][:, steps:].any()
        states = states * mask.unsqueeze(-1)
    np.testing.assert_allclose(found["features"][:, :steps], states, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_tuned_gradients_are_those_of_transformers(models: Any, kind: str, name: str) -> None:
    part = encoder(kind, models(name))
    state = fitted(part, weights="tuned", **OWN[kind])
    module = built(part, state)
    arrays = tensors(part.transform(state, VALUES[kind]))
    model, given, mask = alone(kind, models(name))
    ours, theirs = module(arrays).tokens[:, 0], module.layers(pooled(model(**given).last_hidden_state, mask))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    weight = torch.randn(ours.shape, generator=torch.Generator().manual_seed(0))
    (ours * weight).sum().backward()
    (theirs * weight).sum().backward()
    expected = {f"network.model.{n}": p.grad for n, p in model.named_parameters() if p.grad is not None}
    found = {n: p.grad for n, p in module.named_parameters() if n in expected}
    assert len(found) == len(expected) > 40
    for n, gradient in found.items():
        torch.testing.assert_close(gradient, expected[n], rtol=1e-3, atol=1e-5, msg=n)


def together(module: nn.Module) -> Model:
    head = heads()["label"]
    state, _ = tried(head, ("a",), len(TEXTS))
    torch.manual_seed(7)
    return settle(
        trained.built({"a": module}, trained.Concatenation({"a": FeatureSpec(64, 1)}, 8), head, state, width=8),
        torch.device("cpu"),
    )


def test_a_model_trains_as_transformers_does_by_a_rate_of_its_own(models: Any) -> None:
    """Three epochs of BERT at 2e-5, the rest at 0.01, against torch's own optimizer around transformers' model."""
    part = encoder("hf_text", models("bert"))
    state = fitted(part, weights="tuned", length=16)
    arrays = tensors(part.transform(state, TEXTS))
    head = heads()["label"]
    _, truth = tried(head, ("a",), len(TEXTS))
    target = torch.from_numpy(head.encode(tried(head, ("a",), len(TEXTS))[0], truth))
    inputs = Inputs({"a": arrays}, target, len(TEXTS))
    models_ = []
    for _ in range(2):
        torch.manual_seed(5)
        module = built(part, state, lr=2e-5)
        for dropout in module.modules():
            if isinstance(dropout, nn.Dropout):
                dropout.p = 0.0
        models_.append(together(module))
    ours, plain = models_
    how = recipe(epochs=3, patience=9, lr=0.01, weight_decay=0.1, batch_size=4, seed=0)
    rising = itertools.count()  # what gets better keeps the weights of the last epoch
    training = Training(ours, how, Lesson(inputs, inputs, lambda _: float(next(rising))))
    settings: list[dict[str, Any]] = []
    for n, p in plain.named_parameters():
        rate = 2e-5 if n.startswith("encoders.a.network.") else 0.01
        settings.append({"params": [p], "lr": rate, "weight_decay": 0.1 * (p.dim() > 1), "own": rate})
    assert {group["own"] for group in settings} == {2e-5, 0.01}
    optimizer = torch.optim.AdamW(settings)
    order = torch.Generator().manual_seed(0)
    before = [p.detach().clone() for p in plain.parameters()]
    plain.train()
    for step in range(3):
        training.advance()
        for group in optimizer.param_groups:
            group["lr"] = group["own"] * rule().factor(step / 3)
        optimizer.zero_grad()
        rows = torch.randperm(len(TEXTS), generator=order)
        with kernels(plain):
            plain.head.loss(plain.fuse(plain.encode(inputs.batch(rows))), target[rows]).backward()
        optimizer.step()
    for (n, p), other, old in zip(ours.named_parameters(), plain.parameters(), before, strict=True):
        torch.testing.assert_close(p - old, other - old, rtol=1e-2, atol=1e-7, msg=n)
        furthest = float((p - old).abs().max().detach())
        assert furthest < (1e-4 if n.startswith("encoders.a.network.") else 1e-1), n


def test_lora_is_its_equation(models: Any) -> None:
    """At first nothing is changed; then the model is transformers' own with W + alpha / rank B A in W's place."""
    part = encoder("hf_text", models("bert"))
    state = fitted(part, weights="tuned", length=16)
    module = built(part, state, tune="lora", rank=4, alpha=8.0)
    arrays = tensors(part.transform(state, TEXTS))
    model, given, mask = alone("hf_text", models("bert"))
    expected = pooled(model(**given).last_hidden_state, mask)
    torch.testing.assert_close(module.network(arrays)[0], expected, rtol=1e-4, atol=1e-5)
    learning = {n.rpartition(".")[2] for n, p in module.network.named_parameters() if p.requires_grad}
    assert learning == {"down", "up"}
    updated = {n: m for n, m in module.network.model.named_modules() if isinstance(m, LoRA)}
    assert len(updated) == 3 * 6, "query, key, value, output, and the two dense layers, of each layer"
    with torch.no_grad():
        for name, one in updated.items():
            one.up.normal_(0, 0.2)
            model.get_parameter(f"{name}.weight").add_(8.0 / 4 * one.up @ one.down)
    changed = pooled(model(**given).last_hidden_state, mask)
    assert not torch.allclose(changed, expected, atol=1e-2)
    torch.testing.assert_close(module.network(arrays)[0], changed, rtol=1e-4, atol=1e-5)


def test_only_the_top_learns_and_lower_layers_slower(models: Any) -> None:
    part = encoder("hf_text", models("bert"))
    state = fitted(part, weights="tuned", length=16)
    module = built(part, state, tune="top", top=1)
    learning = {n for n, p in module.network.named_parameters() if p.requires_grad}
    assert learning
    assert all(n.startswith("model.encoder.layer.2.") for n in learning), learning
    groups = groups_of(together(built(part, state, lr=1e-3, layer_decay=0.5)))
    for name, rate in (
        ("embeddings.word_embeddings.weight", 1e-3 / 8),
        ("encoder.layer.0.output.dense.weight", 1e-3 / 4),
        ("encoder.layer.2.output.dense.weight", 1e-3),
    ):
        assert groups[f"encoders.a.network.model.{name}"].fixed == pytest.approx(rate), name
    assert groups["encoders.a.layers.2.weight"].fixed is None
    every = built(part, state, tune="top", top=9)
    assert {n for n, p in every.network.named_parameters() if not p.requires_grad and "pooler" not in n} == {
        n for n, _ in every.network.named_parameters() if ".embeddings." in n
    }


def test_activations_that_are_computed_again_give_the_same_gradients(models: Any) -> None:
    """With dropout, as the engine puts in its own: each layer must be given the same chances both times."""
    part = encoder("hf_text", models("bert"))
    state = fitted(part, weights="tuned", length=16)
    arrays = tensors(part.transform(state, TEXTS))
    found = []
    for again in (False, True):
        torch.manual_seed(2)
        module = built(part, state, checkpointing=again)
        for inner in module.modules():
            if not again and type(inner) is nn.Dropout:
                inner.__class__ = Dropout
        put_in(module)
        module.train()
        torch.manual_seed(3)
        module(arrays).tokens.square().sum().backward()
        found.append({n: p.grad for n, p in module.named_parameters() if p.grad is not None})
    kept, computed = found
    assert kept.keys() == computed.keys()
    for n, gradient in kept.items():
        torch.testing.assert_close(computed[n], gradient, msg=n)
    assert kept["network.model.embeddings.word_embeddings.weight"].abs().max() > 1e-3


def test_a_model_that_reads_its_own_dropout_trains_here(models: Any) -> None:
    """BERT's attention reads `self.dropout.p`."""
    part = encoder("hf_text", models("bert"))
    state = fitted(part, weights="tuned", length=16)
    model = together(built(part, state))
    kinds = {type(m).__module__ for m in model.modules() if isinstance(m, nn.Dropout)}
    assert kinds == {"mmbench.engine.learn.dropout"}
    model.train()
    features = model.encode({"a": tensors(part.transform(state, TEXTS))})
    features["a"].tokens.sum().backward()
    grads = [p.grad for n, p in model.named_parameters() if "attention.self.query.weight" in n]
    assert len(grads) == 3
    assert all(g is not None and g.abs().sum() > 0 for g in grads)


@pytest.mark.parametrize(("kind", "name"), [("hf_text", "bert"), ("hf_audio", "wav2vec2")])
def test_a_missing_value_leaves_the_others_alone(models: Any, kind: str, name: str) -> None:
    """It comes as zeros, its mask too; no softmax over nothing must reach the weights."""
    part = encoder(kind, models(name))
    state = fitted(part, weights="tuned", **OWN[kind])
    arrays = tensors(part.transform(state, VALUES[kind]))
    torch.manual_seed(0)
    module = built(part, state).train()
    whole = module.eval()(arrays).tokens[1:]
    for tensor in arrays.values():
        tensor[0] = 0
    tokens = module(arrays).tokens
    torch.testing.assert_close(tokens[1:], whole, rtol=1e-4, atol=1e-5)
    tokens[1:].square().sum().backward()
    assert all(p.grad.isfinite().all() for p in module.parameters() if p.grad is not None)
    assert seen(torch.tensor([[False, False], [True, False]])).tolist() == [[1, 1], [1, 0]]


def test_a_pair_of_clip_meets_in_one_space(models: Any) -> None:
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    folder = models("clip")
    model = AutoModel.from_pretrained(folder).eval()
    given = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    seen = AutoImageProcessor.from_pretrained(folder, backend="pil")(pictures(), return_tensors="pt")
    with torch.inference_mode():
        both = model(**seen, input_ids=given["input_ids"], attention_mask=given["attention_mask"])
        states = model.vision_model(**seen).last_hidden_state
    found = {}
    for kind, values in (("hf_clip_text", TEXTS), ("hf_clip_image", pictures())):
        part = encoder(kind, folder)
        found[kind] = part.transform(fitted(part), values)
    for kind, expected in (("hf_clip_text", both.text_embeds), ("hf_clip_image", both.image_embeds)):
        own = found[kind]["features"]
        np.testing.assert_allclose(own / np.linalg.norm(own, axis=1, keepdims=True), expected, rtol=1e-3, atol=1e-5)
    part = encoder("hf_image", folder)
    all_ = part.transform(fitted(part, tokens="all"), pictures())["features"]
    np.testing.assert_allclose(all_, states, rtol=1e-4, atol=1e-5)
    part = encoder("hf_clip_image", folder)
    state = fitted(part, weights="tuned")
    module = built(part, state)
    assert not any("text" in n for n, _ in module.named_parameters()), "the other tower is left out"
    module(tensors(part.transform(state, pictures()))).tokens.sum().backward()
    assert module.network.get_parameter("model.joint.weight").grad is not None
    with pytest.raises(DataError, match=r"^the model has no projection to a space of images and texts, as CLIP"):
        fitted(encoder("hf_clip_image", models("vit")))


def test_a_clip_is_read_frame_by_frame_by_a_model_of_pictures(models: Any) -> None:
    part = encoder("hf_video", models("vit"))
    clip = np.stack([np.asarray(picture) for picture in pictures()])
    found = part.transform(fitted(part, tokens="all", frames=3), [clip])["features"]
    image = encoder("hf_image", models("vit"))
    frames = image.transform(fitted(image), pictures())["features"]
    np.testing.assert_allclose(found[0], frames, rtol=1e-4, atol=1e-5)
