"""The encoders `word_lstm` and `word_transformer`: learned word vectors of up to `length` words."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench_text.embedding import UNKNOWN, Embedding, words

if TYPE_CHECKING:
    from torch import nn

_WORDS: dict[str, mb.Choice | mb.Int] = {
    "vocabulary": mb.Choice((1000, 2000, 5000, 10000, 20000), default=10000, stage="prepare"),
    "rarest": mb.Int(1, 3, default=1, stage="prepare"),
    "length": mb.Choice((32, 64, 128, 256, 512), default=256, stage="prepare"),
}


class _Sequence(Embedding):
    """Words as `embedding` has them, but as many of a text as `length` says."""

    on_request = True

    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """As `embedding`; T is the 95% longest train text, at most `length` words."""
        import numpy as np

        longest = int(np.ceil(np.quantile([len(words(text)) for text in column], 0.95)))
        return {**super().fit(column, params), "length": min(max(1, longest), int(params["length"]))}


class WordLSTM(_Sequence):
    """Learned word vectors through an LSTM: its last state, one token [B, 1, width], or all, [B, T, width].

    x_t = dropout(E[word_t]); h = LSTM(x); given is dropout(h) at the text's own last word ("last") or at each
    ("all"); at most `length` words are read. It reads forward, and missing words stand at the end, so they
    change nothing. Training makes 10% of the words unknown. Inner layers: the word vectors, h.
    """

    name = "word_lstm"
    source = "https://doi.org/10.1162/neco.1997.9.8.1735"
    space = {
        **_WORDS,
        "gives": mb.Choice(("last", "all"), default="last"),
        "embedding": mb.Choice((32, 64, 128, 300), default=64),
        "width": mb.Choice((32, 64, 128, 256), default=128),
        "dropout": mb.Float(0.0, 0.6, default=0.2),
    }

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_text.readers import Memory

        chosen = {name: params[name] for name in ("gives", "embedding", "width", "dropout")}
        return Memory(words=len(state["vocabulary"]) + UNKNOWN + 1, **chosen)


class WordTransformer(_Sequence):
    """Learned word vectors and places through a Transformer, a token a word, [B, T, width].

    h_0 = dropout(E[word_t] + P_t); `layers` times h = h + attention(norm(h)), h = h + V gelu(W norm(h)), 4 `width`
    inside; token = norm(h). Words that are not there are attended to by none. At most `length` words are read.
    Differs from the paper: norms come first, GELU, learned places, keys without bias (attention can't see it).
    Training makes 10% of the words unknown. Inner layers: h after each block.
    """

    name = "word_transformer"
    source = "https://arxiv.org/abs/1706.03762"
    space = {
        **_WORDS,
        "width": mb.Choice((32, 64, 128), default=64),
        "heads": mb.Choice((2, 4), default=4),
        "layers": mb.Int(1, 4, default=2),
        "dropout": mb.Float(0.0, 0.6, default=0.2),
    }

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_text.readers import Transformer

        chosen = {name: params[name] for name in ("width", "heads", "layers", "dropout")}
        return Transformer(words=len(state["vocabulary"]) + UNKNOWN + 1, length=int(state["length"]), **chosen)
