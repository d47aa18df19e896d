"""A fusion by a block-diagonal product: x_m pooled, [B, D_m], to h [B, width].

The module is in `mmbench_fusion.modules.joining.blocks`.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params


class BlockTerm(mb.Fusion):
    """Block superdiagonal fusion (BLOCK): products within each of several chunks, each of limited rank.

        q_m = U_m x_m + c_m, cut into `chunks` of n = size / chunks places      U_m [chunks n, D_m]
        z_c = sum over r = 1..rank of product over present m of (N_mcr q_mc + d_mcr)      N_mcr [n, n], [B, n]
        h   = W [unit(root(z_1)); ...; unit(root(z_chunks))] + b                W [width, chunks n]

    root and unit are those of `mmbench_fusion.tensor`. Between the chunks nothing is multiplied: `mutan` is one chunk
    (with tanh before, without unit after), `mlb` chunks of one place. The authors have `size` 1600, 20 chunks and rank
    15. A missing modality has the factor 1.
    """

    name = "block"
    source = "arXiv:1902.00038"
    space = {
        "size": mb.Int(16, 256, log=True, default=64, within=(1, 1600)),
        "chunks": mb.Int(2, 16, log=True, default=4, within=(1, 20)),
        "rank": mb.Int(1, 8, log=True, default=4, within=(1, 15)),
    }

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.joining import blocks

        return blocks.BlockTerm(inputs, width, **params)
