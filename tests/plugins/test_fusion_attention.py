"""Fusions in which tokens of several modalities meet, a row at a time, without padding, masks or missing modalities."""

from itertools import combinations, permutations
from typing import Any

import numpy as np
import torch
from mmbench_fusion.attention.crossing import CoAttention, Mult
from mmbench_fusion.attention.joint import EarlyTransformer, Perceiver
from mmbench_fusion.attention.plain import ContextualAttention, NlGate
from mmbench_fusion.memory.stepwise import MemoryFusion
from mmbench_fusion.modules.attention.places import sinusoids
from scipy.special import expit, softmax
from torch import Tensor

import mmbench as mb
from mmbench.testing.rules.features import INPUTS
from tests.plugins.test_fusion_tokens import NAMES, WIDTH, as_torch, attended, batch, built


def there(features: dict[str, mb.Features], row: int) -> dict[str, Tensor]:
    """The tokens of the modalities that a row has, [T, D]."""
    return {m: features[m].tokens[row][features[m].mask[row]] for m in NAMES if features[m].mask[row].any()}


def vector(module: Any, features: dict[str, mb.Features]) -> Tensor:
    with torch.no_grad():
        made = module(features)
    found = made.vector if isinstance(made, mb.Fused) else made
    assert isinstance(found, Tensor)
    return found


def test_sinusoids() -> None:
    """The equation of arXiv:1706.03762: sin and cos of place / 10000^(2 i / width)."""
    expected = np.zeros((5, 7))
    for place in range(5):
        for column in range(7):
            angle = place / 10000 ** ((column // 2) * 2 / 7)
            expected[place, column] = np.cos(angle) if column % 2 else np.sin(angle)
    np.testing.assert_allclose(sinusoids(5, 7, torch.zeros(())).numpy(), expected, atol=1e-6)


def test_mult() -> None:
    module, features = built(Mult(), layers=2, memory=1, heads=2), batch()
    for row in range(5):
        with torch.no_grad():
            tokens = there(features, row)
            z = {m: module.project[m](t) + sinusoids(len(t), WIDTH, t) for m, t in tokens.items()}
            ends = []
            for m in NAMES:
                if m not in z:
                    ends.append(torch.zeros(2 * WIDTH))
                    continue
                pairs = []
                for n in NAMES:
                    if n == m:
                        continue
                    x, reader = z[m], module.readers[m][n]
                    for layer in reader.layers:
                        if n in z:
                            x = attended(layer, x, z[n])
                        else:  # it reads nothing: only the bias of the layer that joins the heads is added
                            x = x + layer.attention.join.bias
                            hidden = torch.nn.functional.gelu(layer.wider(layer.feed_norm(x)))
                            x = x + layer.narrower(hidden)
                    pairs.append(reader.norm(x))
                y = torch.cat(pairs, dim=1).unsqueeze(0)
                for block in module.memory[m]:
                    y = layer_of(block)(y)
                ends.append(module.norms[m](y[0]).mean(0))
            expected = module.join(torch.cat(ends))
        torch.testing.assert_close(vector(module, features)[row], expected, rtol=1e-4, atol=1e-4)


def layer_of(block: Any) -> torch.nn.TransformerEncoderLayer:
    """torch's own layer, of the width of `block`."""
    state, width = block.state_dict(), block.feed_norm.normalized_shape[0]
    layer = torch.nn.TransformerEncoderLayer(
        width, block.attention.heads, 2 * width, activation="gelu", batch_first=True, norm_first=True
    ).eval()
    names = {"in_proj_": "query_key_value.", "out_proj.": "join."}
    found = {f"self_attn.{a}{k}": state[f"attention.{b}{k}"] for a, b in names.items() for k in ("weight", "bias")}
    others = {"linear1": "wider", "linear2": "narrower", "norm1": "attention_norm", "norm2": "feed_norm"}
    layer.load_state_dict(
        found | {f"{a}.{k}": state[f"{b}.{k}"] for a, b in others.items() for k in ("weight", "bias")}
    )
    return layer


def test_co_attention() -> None:
    module, features = built(CoAttention(), size=3), batch()
    state = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    for row in range(5):
        tokens = {m: t.numpy() for m, t in there(features, row).items()}
        u = {m: t @ state[f"project.{m}.weight"].T + state[f"project.{m}.bias"] for m, t in tokens.items()}
        read = dict(u)
        for number, (a, b) in enumerate(combinations(NAMES, 2)):
            if a in u and b in u:
                near = np.tanh(tokens[a] @ state[f"nearness.{number}"] @ tokens[b].T)
                read[a], read[b] = read[a] + near @ u[b], read[b] + near.T @ u[a]
        found = []
        for number, m in enumerate(NAMES):
            if m not in u:
                found.append(np.zeros(features[m].tokens.shape[2]))
                continue
            weights = np.exp(np.tanh(read[m]) @ state["scores"][number])
            found.append(weights @ tokens[m] / weights.sum())
        expected = state["join.weight"] @ np.concatenate(found) + state["join.bias"]
        np.testing.assert_allclose(vector(module, features)[row].numpy(), expected, rtol=1e-3, atol=1e-4)


def placed(tokens: Any, given: dict[str, Tensor]) -> Tensor:
    return torch.cat([tokens.project[m](t) + tokens.places[m][: len(t)] for m, t in given.items()])


def test_early_transformer() -> None:
    module, features = built(EarlyTransformer(), layers=2, heads=2), batch()
    for row in range(5):
        with torch.no_grad():
            z = torch.cat([module.class_token[0], placed(module.tokens, there(features, row))]).unsqueeze(0)
            for block in module.blocks:
                z = as_torch(block, 2)(z)
            torch.testing.assert_close(vector(module, features)[row], module.norm(z[0, 0]))


def test_perceiver() -> None:
    """Three repeats: the second and the third have the same weights."""
    module, features = built(Perceiver(), latents=3, repeats=3, layers=1, heads=2), batch()
    for row in range(5):
        with torch.no_grad():
            x, z = placed(module.tokens, there(features, row)), module.latents[0]
            for repeat in (0, 1, 1):
                z = attended(module.rounds[repeat].read, z, x)
                z = as_torch(module.rounds[repeat].layers[0], 2)(z.unsqueeze(0))[0]
            expected = module.norm(z).mean(0)
        torch.testing.assert_close(vector(module, features)[row], expected, rtol=1e-4, atol=1e-4)


Array = np.ndarray[Any, Any]


def without_dropout(part: mb.Fusion, **params: Any) -> Any:
    torch.manual_seed(0)
    return part.build(INPUTS, WIDTH, params).eval()


def arrays(module: Any) -> dict[str, Array]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def projected(state: dict[str, Array], features: dict[str, mb.Features], row: int) -> dict[str, Array]:
    key = "project"
    given = {m: t.numpy() for m, t in there(features, row).items()}
    return {m: t @ state[f"{key}.{m}.weight"].T + state[f"{key}.{m}.bias"] for m, t in given.items()}


def joined(state: dict[str, Array], found: list[Array]) -> Array:
    return np.asarray(state["join.weight"] @ np.concatenate(found) + state["join.bias"])


def test_nl_gate() -> None:
    module, features = without_dropout(NlGate(), size=3), batch()
    state = arrays(module)
    for row in range(5):
        u, found = projected(state, features, row), []
        for m in NAMES:
            if m not in u:
                found.append(np.zeros(WIDTH))
                continue
            query, out = (state[f"{part}.{m}.weight"] for part in ("query", "give"))
            others = np.concatenate([u[n] for n in u if n != m])
            weights = softmax(u[m] @ query.T @ (others @ state[f"key.{m}.weight"].T).T, axis=1)
            found.append((u[m] + weights @ (others @ state[f"value.{m}.weight"].T) @ out.T).mean(0))
        np.testing.assert_allclose(vector(module, features)[row].numpy(), joined(state, found), rtol=1e-3, atol=1e-4)


def test_contextual_attention() -> None:
    module, features = built(ContextualAttention()), batch()
    state = arrays(module)
    for row in range(5):
        u, found = projected(state, features, row), []
        for m, n in permutations(NAMES, 2):
            if m in u and n in u:
                found.append((softmax(u[m] @ u[n].T, axis=1) @ u[n] * u[m]).mean(0))
            else:
                found.append(np.zeros(WIDTH))
        found += [u[m].mean(0) if m in u else np.zeros(WIDTH) for m in NAMES]
        np.testing.assert_allclose(vector(module, features)[row].numpy(), joined(state, found), rtol=1e-3, atol=1e-4)


def test_memory_fusion() -> None:
    """Its LSTMs are torch's cells; what a modality has not (yet) is not stepped over."""
    module, features = built(MemoryFusion(), size=3, memory=2), batch()
    state = arrays(module)

    def two(key: str, x: Array) -> Array:
        hidden = np.maximum(0, state[f"{key}.0.weight"] @ x + state[f"{key}.0.bias"])
        return np.asarray(state[f"{key}.3.weight"] @ hidden + state[f"{key}.3.bias"])

    cells = {}
    for m in NAMES:
        cells[m] = torch.nn.LSTMCell(features[m].tokens.shape[2], 3)
        weight, bias = module.cells[m].weight.detach(), module.cells[m].bias.detach()
        wide = weight.shape[1] - 3
        given = {"weight_ih": weight[:, :wide], "weight_hh": weight[:, wide:], "bias_ih": bias}
        cells[m].load_state_dict({**given, "bias_hh": torch.zeros(12)})
    for row in range(5):
        tokens = there(features, row)
        held = {m: (torch.zeros(3), torch.zeros(3)) for m in NAMES}
        memory = np.zeros(2)
        for step in range(max(len(t) for t in tokens.values())):
            before = [held[m][1].numpy() for m in NAMES]
            for m, t in tokens.items():
                if step < len(t):
                    with torch.no_grad():
                        held[m] = cells[m](t[step], held[m])
            k = np.concatenate([*before, *(held[m][1].numpy() for m in NAMES)])
            seen = softmax(two("attend", k)) * k
            memory = expit(two("keep", seen)) * memory + expit(two("take", seen)) * np.tanh(two("say", seen))
        expected = joined(state, [*(held[m][0].numpy() for m in NAMES), memory])
        np.testing.assert_allclose(vector(module, features)[row].numpy(), expected, rtol=1e-3, atol=1e-4)
