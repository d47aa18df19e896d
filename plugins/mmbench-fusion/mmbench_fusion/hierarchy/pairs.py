"""Fusions that join a few modalities first: x_m [B, D_m] to h [B, width].

The modules are in `mmbench_fusion.modules.hierarchy.pairs`.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params


class Pairwise(mb.Fusion):
    """Hierarchical fusion: every pair of modalities meets, then all pairs.

        u_m  = tanh(W_m x_m + b_m), or 0 if m is missing                           [B, width]
        i_mn = tanh(a_mn * u_m + a_nm * u_n + c_mn)              for each m < n, a_mn, a_nm, c_mn [width]
        h    = W dropout([i_mn for each pair]) + b               W [width, pairs * width]

    A pair of which neither is there is 0. Differs: the last step has a weight for each place of each pair in the paper,
    here a whole matrix; and the paper encodes the neighbouring utterances between steps. A modality that is alone has
    i = u.
    """

    name = "pairwise"
    source = "arXiv:1806.06228"
    space = {"dropout": mb.Float(0.0, 0.5, default=0.1)}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.hierarchy import pairs

        return pairs.Pairwise(inputs, width, **params)


class Tree(mb.Fusion):
    """Fusion along a binary tree whose shape the suite may give; its leaves are the modalities in order of their names.

        leaf m:    z = W_m x_m + b_m                                               [B, width]
        node:      z = V dropout(GELU(U [z_left; z_right] + a)) + b                U [2 width, 2 width], its own
        h = z of the root

    `shape` "chain" joins the first two, then each next one to what came before; "balanced" joins halves. `first` is
    the place, from 0, at which the order of the names starts, and it goes round. A missing leaf is 0; a node of which
    only one side has anything passes that on; with none there h is 0.
    """

    name = "tree"
    source = "Socher et al. 2011, Parsing Natural Scenes and Natural Language with Recursive Neural Networks"
    space = {
        "shape": mb.Choice(("chain", "balanced"), default="balanced"),
        "first": mb.Int(0, 2, default=0, within=(0, 31)),
        "dropout": mb.Float(0.0, 0.5, default=0.1),
    }

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.hierarchy import pairs

        return pairs.Tree(inputs, width, **params)
