"""The encoders `ple` and `periodic`: each number embedded by itself, then an MLP (Gorishniy et al. 2022)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench_tabular.cells import Cells

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    Array = np.ndarray[Any, Any]

_MLP: dict[str, mb.Choice | mb.Int | mb.Float] = {
    "embedding": mb.Choice((4, 8, 16), default=8),
    "width": mb.Choice((32, 64, 128, 256), default=64),
    "layers": mb.Int(1, 3, default=2),
    "dropout": mb.Float(0.0, 0.5, default=0.1),
}


class PLE(Cells):
    """Piecewise-linear encoding of each column, embedded, then an MLP to one token [B, 1, width].

    The edges e_0 < ... < e_K of a column are quantiles of its known train cells, K at most `bins`;
    a_k = (z - e_{k-1}) / (e_k - e_{k-1}), cut to 0..1 but for a_1 below and a_K above; v = relu(W_j a + b_j) of
    `embedding` numbers, a missing cell a learned v; all v joined go through h = dropout(relu(norm(W h + b))),
    `layers` times. A column of one value has no bins. Differs: only the bins by quantiles, not those of a tree.
    Inner layers: each h.
    """

    name = "ple"
    source = "https://arxiv.org/abs/2203.05556"
    space = {"bins": mb.Choice((4, 8, 16, 32), default=16, stage="prepare"), **_MLP}

    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """As `mlp`, and the edges [D, bins + 1] of the standardised cells; those that aren't there repeat the last."""
        import numpy as np

        state = super().fit(column, {})
        arrays = self.transform(state, column)
        bins = int(params["bins"])
        edges = np.zeros((len(state["mean"]), bins + 1), np.float32)
        for index, row in enumerate(edges):
            found = arrays["cells"][arrays["known"][:, index], index]
            if len(found):
                distinct = np.unique(np.quantile(found, np.linspace(0, 1, bins + 1)).astype(np.float32))
                distinct = distinct[np.insert(np.diff(distinct) > 1e-6, 0, True)]  # rounding is no bin
                row[: len(distinct)] = distinct
                row[len(distinct) :] = distinct[-1]
        return {**state, "edges": edges}

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_tabular.networks import Embedded, Piecewise

        return Embedded(Piecewise(state["edges"], width=int(params["embedding"])), **_rest(params))


class Periodic(Cells):
    """Periodic embedding of each column, then an MLP to one token [B, 1, width].

    s = [sin(2 pi c z), cos(2 pi c z)], c of `frequencies` learned numbers a column, drawn from N(0, `scale`);
    v = relu(W_j s + b_j) of `embedding` numbers, a missing cell a learned v; all v joined go through
    h = dropout(relu(norm(W h + b))), `layers` times ("PLR" in the paper). Inner layers: each h.
    """

    name = "periodic"
    source = "https://arxiv.org/abs/2203.05556"
    space = {
        "frequencies": mb.Choice((8, 16, 32), default=16),
        "scale": mb.Float(0.01, 1.0, log=True, default=0.1, structural=True),
        **_MLP,
    }

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_tabular.networks import Embedded, Waves

        waves = Waves(
            len(state["mean"]),
            frequencies=int(params["frequencies"]),
            scale=float(params["scale"]),
            width=int(params["embedding"]),
        )
        return Embedded(waves, **_rest(params))


def _rest(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: params[name] for name in ("width", "layers", "dropout")}
