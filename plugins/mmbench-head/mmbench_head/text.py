"""A text: a question is answered, a picture described."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import mmbench as mb
from mmbench.api.parts import State
from mmbench.api.space import Params

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

PADDING, START, END = 0, 1, 2
VOCABULARY = 2000
"""Tokens at most: bytes, and what they are merged to."""
LONGEST = 128
"""No more tokens of a text are learned or written."""
_WORDS = ("red", "green", "small", "round", "old", "cat", "house", "river", "stone", "bird")


class Text(mb.Head):
    """A text, token by token: a causal Transformer decoder that attends to what the fusion gives.

        p(y_t | y_<t) = softmax(W norm(z_t) + b)                                       z [B, T, width]
        z = E[y_<t] + P + norm(v);  `layers` times: z <- z + self_attention(norm(z)), z <- z + attention(norm(z), M),
            z <- z + feed_forward(norm(z))
        M = norm([v; t])          the fusion's vector and, where it gives them, its tokens; [B, 1 + tokens, width]

    Tokens are byte pairs merged as often as train has them, at most 2000, so that any text can be written. Training
    forces the true tokens (teacher forcing, cross-entropy, padding left out); prediction takes the likeliest token each
    time (greedy), until the text ends or is as long as the longest of train.
    """

    name = "text"
    target = mb.Text
    source = "arXiv:1706.03762"
    needs = ("tokens", "vector")
    asks = "predict"
    cohort = False
    space = {"layers": mb.Int(1, 2, default=1)}

    def fit(self, target: mb.Target, truth: "Array", names: Sequence[str] | None) -> State:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            min_frequency=2,
            special_tokens=["<padding>", "<start>", "<end>"],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(sorted(truth.tolist()), trainer)  # sorted: rows in another order are the same
        length = max(len(found.ids) for found in tokenizer.encode_batch(truth.tolist()))
        return {
            "outputs": tokenizer.get_vocab_size(),
            "vocabulary": tokenizer.to_str(),
            "length": min(length, LONGEST) + 1,
        }

    def encode(self, state: State, truth: "Array") -> "Array":
        """The ids of each text's tokens and its end, then padding, int64 [N, length]."""
        import numpy as np

        length = state["length"]
        encoded = np.full((len(truth), length), PADDING, np.int64)
        for row, found in enumerate(_tokenizer(state).encode_batch(truth.tolist())):
            ids = [*found.ids[: length - 1], END]
            encoded[row, : len(ids)] = ids
        return encoded

    def build(self, state: State, width: int | None, dropout: float, params: Params) -> Any:
        from mmbench_head.modules import text

        return text.Text(state["outputs"], state["length"], width or 0, dropout, layers=params["layers"])

    def decode(self, state: State, predictions: "Array") -> "Array":
        import numpy as np

        texts = _tokenizer(state).decode_batch(predictions.tolist(), skip_special_tokens=True)
        return np.array(texts, dtype=object)

    def truth(self, rows: int, generator: "np.random.Generator") -> "Array":
        import numpy as np

        return np.array([" ".join(generator.choice(_WORDS, 3 + row % 4)) for row in range(rows)], dtype=object)

    def guess(self, truth: "Array", generator: "np.random.Generator | None") -> "Array":
        import numpy as np

        if generator is None:
            return truth.copy()
        return np.array([_changed(text, generator) for text in truth], dtype=object)

    def extremes(self, rows: int) -> "list[Array]":
        import numpy as np

        return [np.array(["red cat", "old bird", "red cat"] * rows, dtype=object)[:rows]]

    def fault(self, state: State, truth: "Array", predictions: "Array") -> str | None:
        texts = predictions.ndim == 1 and all(isinstance(text, str) for text in predictions.tolist())
        return None if texts else f"{predictions.dtype} {predictions.shape} is not a text a row"


def _tokenizer(state: State) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(state["vocabulary"])


def _changed(text: str, generator: "np.random.Generator") -> str:
    """The text with some of its words another."""
    changed = [str(generator.choice(_WORDS)) if generator.random() < 0.4 else word for word in text.split()]
    return " ".join(changed)
