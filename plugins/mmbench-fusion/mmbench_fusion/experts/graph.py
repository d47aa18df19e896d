"""A fusion in which the modalities are the nodes of a graph.

The module is in `mmbench_fusion.modules.experts.graph`.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params


class Graph(mb.Fusion):
    """Graph attention over the modalities (GAT): each is a node, joined to every one that is there and to itself.

        z_m = P_m x_m + c_m                                                     [B, width]
        `layers` times, in each of `heads` heads, d = width / heads:
            u_m  = W z_m                                                        [B, d]
            e_mn = LeakyReLU(a' [u_m; u_n], slope 0.2)                          a [2 d]
            z_m <- z_m + ELU(sum over present n of softmax over n of e_mn u_n)
        h = mean over present m of z_m

    Heads stand side by side in the z_m. Differs: the paper has no residual, and averages the heads of its last layer;
    the authors have 2 layers of 8 heads. A missing modality is no node; with none there h is 0.
    """

    name = "graph"
    source = "arXiv:1710.10903"
    space = {
        "layers": mb.Int(1, 3, default=2),
        "heads": mb.Choice((1, 2, 4, 8), default=4),
        "dropout": mb.Float(0.0, 0.6, default=0.1),
    }

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.experts import graph

        return graph.Graph(inputs, width, **params)
