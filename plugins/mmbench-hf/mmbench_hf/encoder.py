"""What the encoders of all kinds have in common: frozen, a model's features are computed once and stored; tuned, what
its tokenizer or preprocessor makes of the values is stored, and the model is trained.

Subclasses say how values become a model's inputs. Nothing heavy is imported before a value is read.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import mmbench as mb
from mmbench_hf.place import Place

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from mmbench_hf.modules import Network

    Array = np.ndarray[Any, Any]

TUNED = {"weights": "tuned"}
JOINT = mb.Choice(("joint", "mean", "first", "all"), default="joint", stage="prepare")
"""`tokens` of one half of a model of images and texts."""


class HubEncoder(mb.Encoder):
    """A model of the hub, frozen or tuned, then one learned projection.

    s = the model's last hidden states, [B, T, D]; "mean": f = mean of s over the tokens that are there, one token;
    "first": f = s_1, as BERT's [CLS]; "all": f = s; "joint", of CLIP and its like: f = the vector in the space that
    images and texts share. token = W norm(f) + b, [B, T or 1, width].
    Frozen: only W and b are trained. Tuned: all of the model, its `top` layers, or low-rank updates of its dense
    layers (LoRA), with a learning rate `lr` of their own, times `layer_decay` for each layer below the last.
    """

    place: ClassVar[Place]
    needed: ClassVar[tuple[str, ...]] = ()
    """Files beside the configuration and the weights, of which one must be there."""
    frozen = True
    libraries = ("transformers",)
    batch: ClassVar[int] = 8
    """How many values the frozen model is given at once."""
    space = {
        "tokens": mb.Choice(("mean", "first", "all"), default="mean", stage="prepare"),
        "weights": mb.Choice(("frozen", "tuned"), default="frozen", stage="prepare"),
        "tune": mb.Choice(("whole", "top", "lora"), default="whole", when=TUNED, searched=False),
        "top": mb.Int(1, 4, default=2, when={"tune": "top"}, within=(1, 1000)),
        "rank": mb.Choice((4, 8, 16, 32), default=8, when={"tune": "lora"}),
        "alpha": mb.Float(1, 64, default=16, when={"tune": "lora"}, searched=False, within=(0.001, 10_000)),
        "lr": mb.Float(1e-5, 1e-3, log=True, default=2e-5, when=TUNED, within=(1e-9, 1.0)),
        "layer_decay": mb.Float(0.5, 1.0, default=1.0, when=TUNED, searched=False, within=(0.01, 1.0)),
        "checkpointing": mb.Choice((False, True), default=False, when=TUNED, searched=False),
        "width": mb.Choice((32, 64, 128, 256), default=64),
        "dropout": mb.Float(0.0, 0.5, default=0.1, within=(0.0, 0.9)),
    }

    @property
    def about(self) -> str:
        return f"reads {self.kind} by {self.place.said}"

    def together(self, params: Mapping[str, Any]) -> bool:
        return str(params["weights"]) == "frozen"

    def files(self) -> Sequence[Path]:
        return self.place.files()

    def fetch(self) -> Sequence[Path]:
        return [self.place.local(self.needed)]

    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """What is stored, and how: learned from no row."""
        state = {name: value for name, value in params.items() if name != "model"} | self.settle(self.folder, params)
        features = self.features(state, self.arrays(state, [self.blank(state)]))["features"]
        return {**state, "inputs": int(features.shape[-1])}

    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> "dict[str, Array]":
        """Frozen: {"features": float32 [N, D]}, or [N, T, D] with {"mask": bool [N, T]} where tokens may be missing.
        Tuned: the model's inputs."""
        arrays = self.arrays(state, column)
        return self.features(state, arrays) if state["weights"] == "frozen" else arrays

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_hf.modules import Frozen, tuned

        if state["weights"] == "frozen":
            return Frozen(int(state["inputs"]), width=params["width"], dropout=params["dropout"])
        return tuned(self.network(self.folder, str(state["tokens"])), int(state["inputs"]), params)

    def summary(self, state: Mapping[str, Any], arrays: "dict[str, Array]") -> "Array":
        """Of a model that is to be tuned, what it gives before that."""
        if state["weights"] == "tuned":
            arrays = self.features(state, arrays)
        return super().summary(state, arrays)

    @property
    def folder(self) -> Path:
        """Where the model's files lie, fetched if they do not."""
        return self.place.local(self.needed)

    def features(self, state: Mapping[str, Any], arrays: "dict[str, Array]") -> "dict[str, Array]":
        """What the model as it is makes of its inputs, a few rows at a time."""
        import torch

        network = _kept(self, str(state["tokens"]))
        rows = len(next(iter(arrays.values())))
        tokens: list[Array] = []
        masks: list[Array | None] = []
        order: list[int] = []
        with torch.inference_mode():
            for some in self.batches(arrays):
                found, mask = network({name: torch.from_numpy(array) for name, array in self.cut(arrays, some).items()})
                tokens += list(found.numpy())
                masks += [None] * len(found) if mask is None else list(mask.numpy())
                order += some
        return _laid(rows, order, tokens, masks, self.steps(state), single=state["tokens"] != "all")

    def batches(self, arrays: "Mapping[str, Array]") -> list[list[int]]:
        """Which rows go through the frozen model together."""
        rows = range(len(next(iter(arrays.values()))))
        return [list(rows[start : start + self.batch]) for start in rows[:: self.batch]]

    def cut(self, arrays: "Mapping[str, Array]", rows: list[int]) -> "dict[str, Array]":
        """The inputs of such rows."""
        return {name: array[rows] for name, array in arrays.items()}

    def steps(self, state: Mapping[str, Any]) -> int | None:
        """How many tokens are stored of each value; None: as many as the model gives."""
        return None

    def settle(self, folder: Path, params: Mapping[str, Any]) -> dict[str, Any]:
        """What of the model's own files belongs in the state."""
        return {}

    def blank(self, state: Mapping[str, Any]) -> Any:
        """Any value of the kind."""
        raise NotImplementedError

    def arrays(self, state: Mapping[str, Any], column: Sequence[Any]) -> "dict[str, Array]":
        """The model's inputs for some values, each [N, ...]."""
        raise NotImplementedError

    def network(self, folder: Path, tokens: str) -> "Network":
        """The model itself, with its weights."""
        raise NotImplementedError


@lru_cache(maxsize=1)
def _kept(encoder: HubEncoder, tokens: str) -> "Network":
    """The frozen model: values come 64 at a time, and it is read from the disk once."""
    return encoder.network(encoder.folder, tokens).eval()


def _laid(
    rows: int, order: list[int], tokens: "list[Array]", masks: "list[Array | None]", steps: int | None, *, single: bool
) -> "dict[str, Array]":
    """Tokens of each row, in the rows' order, in one array; with a mask where rows may have fewer than others."""
    import numpy as np

    if single:
        features = np.empty((rows, tokens[0].shape[-1]), np.float32)
        features[order] = np.stack(tokens)
        return {"features": features}
    features = np.zeros((rows, steps or len(tokens[0]), tokens[0].shape[-1]), np.float32)
    mask = np.zeros(features.shape[:2], bool)
    for row, own, here in zip(order, tokens, masks, strict=True):
        there = np.ones(len(own), bool) if here is None else here
        features[row, : len(own)] = own * there[:, None]
        mask[row, : len(own)] = there
    whole = steps is None and masks[0] is None
    return {"features": features} if whole else {"features": features, "mask": mask}
