"""Fusions that attend, against torch's own Transformer layer and against attention written in NumPy."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from mmbench_fusion.modules.transformer import Attention, Block
from mmbench_fusion.tokens import Bottleneck, CrossAttention, LateTransformer
from torch import Tensor, nn

import mmbench as mb
from mmbench.testing.rules.features import INPUTS, nothing, some, without

NAMES = sorted(INPUTS)
WIDTH = 8


def built(part: mb.Fusion, **params: Any) -> Any:
    """A module with every parameter random, so that no norm or bias hides behind its first value."""
    torch.manual_seed(0)
    module = part.build(INPUTS, WIDTH, {"dropout": 0.1, **params}).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.5)
    return module


def batch() -> dict[str, mb.Features]:
    """Five rows of unequal length; text is missing in the first two."""
    return without(some(INPUTS, 5), "text", slice(0, 2))


def as_torch(block: Block, heads: int) -> nn.TransformerEncoderLayer:
    """torch's own layer with the weights of `block`."""
    layer = nn.TransformerEncoderLayer(
        WIDTH, heads, 2 * WIDTH, activation="gelu", batch_first=True, norm_first=True
    ).eval()
    state = block.state_dict()
    names = {
        "self_attn.in_proj_": "attention.query_key_value.",
        "self_attn.out_proj.": "attention.join.",
        "linear1.": "wider.",
        "linear2.": "narrower.",
        "norm1.": "attention_norm.",
        "norm2.": "feed_norm.",
    }
    layer.load_state_dict(
        {f"{theirs}{kind}": state[f"{ours}{kind}"] for theirs, ours in names.items() for kind in ("weight", "bias")}
    )
    return layer


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_block_is_torchs_layer(heads: int) -> None:
    torch.manual_seed(0)
    block = Block(WIDTH, heads, 0.1).eval()
    x, mask = torch.randn(3, 5, WIDTH), torch.ones(3, 5, dtype=torch.bool)
    mask[1, 2:] = False
    with torch.no_grad():
        expected = as_torch(block, heads)(x, src_key_padding_mask=~mask)
        torch.testing.assert_close(block(x, mask.unsqueeze(1))[mask], expected[mask])


def test_attention_of_a_width_that_heads_do_not_divide() -> None:
    """7 wide with 2 heads: two heads of 3, joined to 7."""
    torch.manual_seed(0)
    attention = Attention(7, 2).eval()
    x = torch.randn(1, 4, 7)
    with torch.no_grad():
        q, k, v = (attention.query_key_value(x)[0].reshape(4, 3, 2, 3).unbind(1)[i].numpy() for i in range(3))
        heads = []
        for head in range(2):
            scores = q[:, head] @ k[:, head].T / np.sqrt(3)
            weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
            heads.append(weights @ v[:, head])
        expected = attention.join(torch.from_numpy(np.concatenate(heads, axis=1)).float())
        torch.testing.assert_close(attention(x, torch.ones(1, 1, 4, dtype=torch.bool))[0], expected)


@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (2, 4), (3, 2)])
def test_late_transformer(layers: int, heads: int) -> None:
    module, features = built(LateTransformer(), layers=layers, heads=heads), batch()
    with torch.no_grad():
        for row in range(5):
            there = [m for m in NAMES if features[m].mask[row].any()]
            means = [features[m].tokens[row][features[m].mask[row]].mean(0) for m in there]
            tokens = [module.project.linear[m](x) for m, x in zip(there, means, strict=True)]
            z = torch.stack([module.class_token[0, 0], *tokens]).unsqueeze(0)
            for block in module.blocks:
                z = as_torch(block, heads)(z)
            torch.testing.assert_close(module(features)[row], module.norm(z[0, 0]))


@pytest.mark.parametrize(("layers", "bottlenecks"), [(2, 1), (3, 4)])
def test_bottleneck(layers: int, bottlenecks: int) -> None:
    """A row at a time, without padding, masks or missing modalities: only what is there."""
    module, features = built(Bottleneck(), layers=layers, heads=2, bottlenecks=bottlenecks), batch()
    with torch.no_grad():
        for row in range(5):
            there = [m for m in NAMES if features[m].mask[row].any()]
            streams = {
                m: torch.cat([module.class_tokens[m][0], module.project[m](features[m].tokens[row][f.mask[row]])])
                for m, f in features.items()
                if m in there
            }
            shared = module.bottlenecks[0]
            for layer in module.layers:
                found = {
                    m: as_torch(layer.blocks[m], 2)(torch.cat([z, shared]).unsqueeze(0))[0] for m, z in streams.items()
                }
                streams = {m: z[:-bottlenecks] for m, z in found.items()}
                shared = torch.stack([z[-bottlenecks:] for z in found.values()]).mean(0)
            expected = torch.stack([module.norm(z[0]) for z in streams.values()]).mean(0)
            torch.testing.assert_close(module(features)[row], expected)


def attended(block: Block, query: Tensor, context: Tensor) -> Tensor:
    """x + attention(norm(x) to norm(context)), then + feed-forward; [T, width] and [S, width]."""
    heads, size = block.attention.heads, block.attention.size
    q, _, _ = block.attention.query_key_value(block.attention_norm(query)).chunk(3, dim=1)
    _, k, v = block.attention.query_key_value(block.attention_norm(context)).chunk(3, dim=1)
    found = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = q[:, part] @ k[:, part].T / size**0.5
        found.append(scores.softmax(1) @ v[:, part])
    y = query + block.attention.join(torch.cat(found, dim=1))
    result: Tensor = y + block.narrower(nn.functional.gelu(block.wider(block.feed_norm(y))))
    return result


@pytest.mark.parametrize(("layers", "heads"), [(1, 2), (3, 4)])
def test_cross_attention(layers: int, heads: int) -> None:
    module, features = built(CrossAttention(), layers=layers, heads=heads), batch()
    with torch.no_grad():
        for row in range(5):
            there = [m for m in NAMES if features[m].mask[row].any()]
            tokens: Mapping[str, Tensor] = {
                m: module.project[m](features[m].tokens[row][features[m].mask[row]]) for m in there
            }
            for block in module.blocks:
                tokens = {m: attended(block, tokens[m], torch.cat([tokens[n] for n in there if n != m])) for m in there}
            expected = torch.stack([module.norm(tokens[m]).mean(0) for m in there]).mean(0)
            torch.testing.assert_close(module(features).vector[row], expected)


def test_what_bottlenecks_say_needs_a_layer_to_arrive() -> None:
    """With the class tokens' own streams cut off after the first layer, image could not reach text's class token."""
    module = built(Bottleneck(), layers=2, heads=2, bottlenecks=2)
    features = some(INPUTS, 3)
    louder = {**features, "image": mb.Features(features["image"].tokens * 3, features["image"].mask)}
    with torch.no_grad():
        present = torch.ones(3, len(NAMES), dtype=torch.bool)
        texts = []
        for given in (features, louder):
            streams = {m: module._stream(m, given[m]) for m in NAMES}
            meeting = module.bottlenecks.expand(3, -1, -1)
            allowed = {m: torch.ones(1, 1, z.shape[1] + 2, dtype=torch.bool) for m, z in streams.items()}
            after = []
            for layer in module.layers:
                streams, meeting = layer(streams, meeting, allowed, present)
                after.append(streams["text"][:, 0])
            texts.append(after)
    torch.testing.assert_close(texts[0][0], texts[1][0])
    assert not torch.allclose(texts[0][1], texts[1][1])


@pytest.mark.parametrize("part", [CrossAttention, LateTransformer, Bottleneck])
def test_what_lies_under_the_mask_is_never_read(part: type[mb.Fusion]) -> None:
    """Though encoders give zeros there, nothing may depend on that."""
    module, features = built(part(), **({"bottlenecks": 2} if part is Bottleneck else {}), layers=2, heads=2), batch()
    dirty = {m: mb.Features(torch.where(f.mask.unsqueeze(-1), f.tokens, 1e3), f.mask) for m, f in features.items()}
    with torch.no_grad():
        one, two = (made.vector if isinstance(made := module(f), mb.Fused) else made for f in (features, dirty))
    torch.testing.assert_close(one, two)


def test_nothing_at_all_gives_the_class_token_alone() -> None:
    module = built(LateTransformer(), layers=1, heads=2)
    with torch.no_grad():
        alone = module.norm(as_torch(module.blocks[0], 2)(module.class_token)[0, 0])
        torch.testing.assert_close(module(nothing(batch())), alone.expand(5, -1))
