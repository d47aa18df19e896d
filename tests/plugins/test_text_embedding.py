import numpy as np
import torch
from mmbench_text.embedding import UNKNOWN, Embedding

from mmbench.testing.encoder import EncoderContract

TRAIN = ["The cat sat.", "the cat ran", "a dog", "the"]
PREPARE = {"vocabulary": 1000, "rarest": 1}


class TestEmbedding(EncoderContract):
    part = Embedding


def test_words_are_ranked_by_the_texts_that_hold_them() -> None:
    state = Embedding().fit(TRAIN, PREPARE)
    assert state["vocabulary"] == ["the", "cat", ".", "a", "dog", "ran", "sat"]
    assert Embedding().fit(TRAIN, {**PREPARE, "rarest": 2})["vocabulary"] == ["the", "cat"]


def test_an_unseen_word_is_unknown_and_an_empty_text_is_there() -> None:
    state = Embedding().fit(TRAIN, PREPARE)
    arrays = Embedding().transform(state, ["THE owl", "", "the cat sat . the cat sat ."])
    assert state["length"] == 4
    assert arrays["words"].tolist() == [[2, UNKNOWN, 0, 0], [UNKNOWN, 0, 0, 0], [2, 3, 8, 4]]
    assert arrays["mask"].tolist() == [[True, True, False, False], [True] + [False] * 3, [True] * 4]


def test_the_mean_reader_is_the_mean_of_the_normed_vectors() -> None:
    state = Embedding().fit(TRAIN, PREPARE)
    module = Embedding().build(state, {"reader": "mean", "width": 8, "dropout": 0.5}).eval()
    arrays = {name: torch.from_numpy(a) for name, a in Embedding().transform(state, ["the dog", "cat"]).items()}
    vectors = dict(module.named_parameters())["vectors.weight"].detach()
    normed = (vectors - vectors.mean(1, keepdim=True)) / (vectors.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    expected = torch.stack([(normed[2] + normed[6]) / 2, normed[3]])
    torch.testing.assert_close(module(arrays).pooled, expected)


def test_forgetting_spares_what_is_no_word() -> None:
    words = torch.tensor([[2, 3, 0, 0]] * 500, dtype=torch.int32)
    arrays = {"words": words, "mask": words != 0}
    found = Embedding().augment(arrays, torch.Generator().manual_seed(0))["words"]
    assert (found[:, 2:] == 0).all()
    assert 0.05 < (found[:, :2] == UNKNOWN).float().mean() < 0.15


def test_summary_is_that_of_scikit_learn() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    state = Embedding().fit(TRAIN, PREPARE)
    found = Embedding().summary(state, Embedding().transform(state, TRAIN))
    vectorizer = TfidfVectorizer(vocabulary=state["vocabulary"], token_pattern=r"\w+|[^\w\s]")
    np.testing.assert_allclose(found, vectorizer.fit_transform(TRAIN).toarray(), atol=1e-6)
