"""The encoder `tfidf`: how often each word stands in the whole text, weighed by how rare it is, then projected."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench_text.embedding import words

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    Array = np.ndarray[Any, Any]

BATCH = 1000
"""Rows that are dense at a time."""


class TfIdf(mb.Encoder):
    """TF-IDF of the whole text, by scikit-learn, reduced by a truncated SVD, then one learned projection.

    f_w = (1 + log count_w) (log((1 + N) / (1 + df_w)) + 1), each row of length 1; words, and pairs with `ngrams` = 2,
    the `terms` most frequent of the train rows; s = V f, V the `components` first right singular vectors of the train
    rows (latent semantic analysis; left out where there are no more terms or rows than that).
    token = W dropout(norm(s)) + b, [B, 1, width]. No word of a text is cut off.
    """

    name = "tfidf"
    kind = "text"
    on_request = True
    source = "https://doi.org/10.1016/0306-4573(88)90021-0"
    space = {
        "terms": mb.Choice((1000, 2000, 5000, 10000, 20000), default=5000, stage="prepare"),
        "ngrams": mb.Choice((1, 2), default=1, stage="prepare"),
        "components": mb.Choice((64, 128, 256, 512), default=256, stage="prepare"),
        "width": mb.Choice((32, 64, 128, 256), default=128),
        "dropout": mb.Float(0.0, 0.5, default=0.1),
    }

    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """The terms, how rare each is, and V [components, terms], or [0, terms] where nothing is reduced."""
        import numpy as np
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        ngrams = int(params["ngrams"])
        found = [terms(text, ngrams) for text in column]
        vectorizer = TfidfVectorizer(analyzer=_same, max_features=int(params["terms"]), sublinear_tf=True)
        if not any(found):  # not one word in all train rows
            return {"terms": [], "rarity": np.ones(1), "basis": np.zeros((0, 1), np.float32), "ngrams": ngrams}
        rows = vectorizer.fit_transform(found)
        many = int(params["components"])
        basis = np.zeros((0, rows.shape[1]), np.float32)
        if many < min(rows.shape):
            basis = TruncatedSVD(many, random_state=0).fit(rows).components_.astype(np.float32)
        names = [str(term) for term in vectorizer.get_feature_names_out()]
        return {"terms": names, "rarity": vectorizer.idf_, "basis": basis, "ngrams": ngrams}

    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> "dict[str, Array]":
        """{"features": float32 [N, components]}; zeros for a text without a known word."""
        import numpy as np

        index = {term: number for number, term in enumerate(state["terms"])}
        basis, rarity = np.asarray(state["basis"]), np.asarray(state["rarity"])
        features = np.zeros((len(column), len(basis) or len(rarity)), np.float32)
        for first in range(0, len(column), BATCH):
            some = column[first : first + BATCH]
            dense = np.zeros((len(some), len(rarity)), np.float32)
            for row, text in enumerate(some):
                places = [index[term] for term in terms(text, int(state["ngrams"])) if term in index]
                np.add.at(dense[row], places, 1)
            dense = np.where(dense > 0, 1 + np.log(np.maximum(dense, 1)), 0) * rarity
            dense /= np.maximum(np.linalg.norm(dense, axis=1, keepdims=True), 1e-12)
            features[first : first + len(some)] = dense @ basis.T if len(basis) else dense
        return {"features": features}

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_text.modules import Projection

        inputs = len(state["basis"]) or len(state["rarity"])
        return Projection(inputs, width=params["width"], dropout=params["dropout"])


def terms(text: str, ngrams: int) -> list[str]:
    """Words and punctuation in lower case, and with `ngrams` = 2 each two that stand together."""
    found = words(text)
    return found if ngrams == 1 else found + [f"{one} {two}" for one, two in pairwise(found)]


def _same(found: list[str]) -> list[str]:
    return found
