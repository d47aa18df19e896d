"""TF-IDF against scikit-learn, the sequence readers against torch's own layers."""

from typing import Any

import numpy as np
import torch
from mmbench_text.readers import Block
from mmbench_text.sequence import WordLSTM, WordTransformer
from mmbench_text.tfidf import TfIdf
from torch import nn

from mmbench.api.space import defaults
from mmbench.testing.encoder import EncoderContract

TRAIN = ["The cat sat. The cat!", "the cat ran", "a dog", "the", ""]


class TestWordLSTM(EncoderContract):
    part = WordLSTM
    configurations = 2


class TestWordTransformer(EncoderContract):
    part = WordTransformer
    configurations = 2


class TestTfIdf(EncoderContract):
    part = TfIdf
    configurations = 2


def test_tfidf_is_that_of_scikit_learn_over_the_whole_text() -> None:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    generator = np.random.default_rng(0)
    texts = [" ".join(f"w{word}" for word in generator.zipf(1.3, 700) % 300) for _ in range(90)]
    vectorizer = TfidfVectorizer(token_pattern=r"\w+", sublinear_tf=True, max_features=200)
    rows = vectorizer.fit_transform(texts)
    params = {"terms": 200, "ngrams": 1, "components": 512}
    plain = TfIdf().transform(TfIdf().fit(texts, params), texts)["features"]
    np.testing.assert_allclose(plain, rows.toarray(), atol=1e-5)
    found = TfIdf().transform(TfIdf().fit(texts, {**params, "components": 64}), texts)["features"]
    np.testing.assert_allclose(found, TruncatedSVD(64, random_state=0).fit_transform(rows), atol=1e-4)


def test_pairs_of_words_are_terms() -> None:
    state = TfIdf().fit(TRAIN, {"terms": 1000, "ngrams": 2, "components": 64})
    assert {"the cat", "cat sat", "dog"} <= set(state["terms"])


def test_more_than_64_words_are_read() -> None:
    texts = [" ".join(["word"] * 99 + [end]) for end in ("good", "bad")] * 5
    state = WordLSTM().fit(texts, defaults(WordLSTM.space, "prepare"))
    rows = WordLSTM().transform(state, texts)["words"]
    assert rows.shape == (10, 100)
    assert rows[0, -1] != rows[1, -1]


def test_the_last_state_is_that_of_the_last_word() -> None:
    state = WordLSTM().fit(TRAIN, defaults(WordLSTM.space, "prepare"))
    module: Any = WordLSTM().build(state, defaults(WordLSTM.space, "build")).eval()
    arrays = {name: torch.from_numpy(a) for name, a in WordLSTM().transform(state, TRAIN).items()}
    given = module(arrays).tokens[:, 0]
    for row, ids in enumerate(arrays["words"]):
        there = ids[ids != 0][None].int()
        alone = module.recurrent(module.vectors(there))[1][0][0, 0]
        torch.testing.assert_close(given[row], alone, rtol=1e-4, atol=1e-5)


def test_a_masked_block_is_that_of_torch() -> None:
    torch.manual_seed(0)
    block, x = Block(8, heads=2, dropout=0.0).eval(), torch.randn(3, 5, 8)
    mask = torch.arange(5) < torch.tensor([[5], [3], [1]])
    torchs = nn.TransformerEncoderLayer(8, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True)
    attention = torchs.self_attn
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.cat([block.query.weight, block.key.weight, block.value.weight]))
        attention.in_proj_bias.copy_(torch.cat([block.query.bias, torch.zeros(8), block.value.bias]))
    attention.out_proj.load_state_dict(block.out.state_dict())
    torchs.linear1.load_state_dict(block.dense[0].state_dict())
    torchs.linear2.load_state_dict(block.dense[2].state_dict())
    expected = torchs(x, src_key_padding_mask=~mask)
    torch.testing.assert_close(block(x, mask)[mask], expected[mask], rtol=1e-4, atol=1e-5)
