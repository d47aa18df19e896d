"""The encoder `embedding`: words of the train rows, each a learned vector, read by a mean, a GRU or a convolution."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import mmbench as mb

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

    Array = np.ndarray[Any, Any]

PADDING, UNKNOWN = 0, 1
LENGTH = 64
"""No more words of a text are read."""
SUMMARY = 300
"""How many of the most frequent words `summary` weighs."""
FORGET = 0.1
"""The share of words that `augment` makes unknown."""
_WORD = re.compile(r"\w+|[^\w\s]")


class Embedding(mb.Encoder):
    """Learned word vectors, read by a mean, a GRU or a convolution.

    The vocabulary is that of the train rows, in lower case, most frequent first; any other word is one unknown word.
    x_t = dropout(E[word_t]); reader "mean": h = x, whose mean is the text; "gru": h = GRU(x); "cnn":
    h = x + relu(conv_3(x)). token = norm(h), [B, T, width], T the 95% longest train text, at most 64 words.
    Training makes 10% of the words unknown (word dropout), so that the unknown word learns too.
    Inner layers: the word vectors.
    """

    name = "embedding"
    kind = "text"
    source = "https://arxiv.org/abs/1408.5882"
    space = {
        "vocabulary": mb.Choice((1000, 2000, 5000, 10000), default=5000, stage="prepare"),
        "rarest": mb.Int(1, 3, default=1, stage="prepare"),
        "reader": mb.Choice(("mean", "gru", "cnn"), default="mean"),
        "width": mb.Choice((32, 64, 128), default=64),
        "dropout": mb.Float(0.0, 0.6, default=0.2),
    }

    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """The `vocabulary` most frequent words that at least `rarest` train texts use, and how rare each is."""
        import numpy as np

        texts = [words(text) for text in column]
        spread = Counter(word for text in texts for word in set(text))
        # Words of one frequency stand in alphabetical order, so that the vocabulary has no chance in it.
        ranked = sorted(spread, key=lambda word: (-spread[word], word))
        vocabulary = [word for word in ranked if spread[word] >= params["rarest"]][: params["vocabulary"]]
        length = int(np.ceil(np.quantile([len(text) for text in texts], 0.95)))
        rarity = [np.log((1 + len(texts)) / (1 + spread[word])) + 1 for word in vocabulary]
        return {
            "vocabulary": vocabulary,
            "rarity": np.array(rarity, np.float32),
            "length": min(max(1, length), LENGTH),
        }

    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> "dict[str, Array]":
        """{"words": int32 [N, T], 0 where there is none and 1 for the unknown word; "mask": bool [N, T]}."""
        import numpy as np

        index = {word: number for number, word in enumerate(state["vocabulary"], start=UNKNOWN + 1)}
        ids = np.full((len(column), int(state["length"])), PADDING, np.int32)
        for row, text in enumerate(column):
            # An empty text is one unknown word, not a missing one.
            found = [index.get(word, UNKNOWN) for word in words(text)] or [UNKNOWN]
            ids[row, : len(found)] = found[: ids.shape[1]]
        return {"words": ids, "mask": ids != PADDING}

    def augment(self, arrays: "dict[str, Tensor]", generator: "torch.Generator") -> "dict[str, Tensor]":
        import torch

        ids = arrays["words"]
        chance = torch.rand(ids.shape, generator=generator, device=generator.device).to(ids.device)
        forgotten = (chance < FORGET) & (ids != PADDING)
        return {**arrays, "words": ids.masked_fill(forgotten, UNKNOWN)}

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_text.modules import Reader

        chosen = {name: params[name] for name in ("reader", "width", "dropout")}
        return Reader(words=len(state["vocabulary"]) + UNKNOWN + 1, **chosen)

    def summary(self, state: Mapping[str, Any], arrays: "dict[str, Array]") -> "Array":
        """TF-IDF of the most frequent words, each row of length 1: [N, at most 300]."""
        import numpy as np

        rarity = np.asarray(state["rarity"])[:SUMMARY]
        counts = np.zeros((len(arrays["words"]), len(rarity)), np.float32)
        rows, steps = np.nonzero(arrays["words"] > UNKNOWN)
        ids = arrays["words"][rows, steps] - UNKNOWN - 1
        frequent = ids < len(rarity)
        np.add.at(counts, (rows[frequent], ids[frequent]), 1.0)
        weighed: Array = counts * rarity
        weighed /= np.maximum(np.linalg.norm(weighed, axis=1, keepdims=True), 1e-12)
        return weighed


def words(text: str) -> list[str]:
    """The words and punctuation marks of `text`, in lower case."""
    return _WORD.findall(text.lower())
