"""A fusion of sequences that go in step. The module is in `mmbench_fusion.modules.memory.stepwise`."""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params


class MemoryFusion(mb.Fusion):
    """Memory fusion network (MFN): an LSTM for each modality, and a memory of how their states change together.

    At each step t, with t_m [B, T_m, D_m] and all D two layers with a ReLU between:

        h_m, c_m = LSTM_m(t_m at t, h_m, c_m)                        [B, size] each, 0 at the start
        k = [c_1 ... c_M before the step; c_1 ... c_M after it]      [B, 2 M size]
        a = softmax(D_a k) * k                                       delta-memory attention
        u <- sigmoid(D_keep a) * u + sigmoid(D_take a) * tanh(D_u a) [B, memory], 0 at the start
        h = W [h_1; ...; h_M; u] + b                                 after the last step

    Token t of one modality meets token t of the others: the paper's sequences are aligned by word, ours need not be,
    and one that has ended (or has no token at t) keeps its state. The memory waits where none has a token. A missing
    modality stays 0. It takes as many steps as the longest modality has tokens, one after another.
    """

    name = "memory_fusion"
    source = "arXiv:1802.00927"
    space = {
        "size": mb.Int(8, 64, log=True, default=32, within=(1, 256)),
        "memory": mb.Int(8, 64, log=True, default=32, within=(1, 400)),
        "dropout": mb.Float(0.0, 0.7, default=0.1),
    }

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.memory import stepwise

        return stepwise.MemoryFusion(inputs, width, **params)
