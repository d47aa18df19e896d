"""Fusions of decisions: each modality decides, and the decisions meet. K outputs, logits [B, K].

The modules are in `mmbench_fusion.modules.decision`.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params


class MeanLogits(mb.Fusion):
    """Mean of the logits of one linear head for each modality (late fusion).

        l = mean over present m of (W_m x_m + b_m)          x_m [B, D_m], W_m [K, D_m], l [B, K]

    A missing modality has no vote; with none there the logits are 0.
    """

    name = "mean_logits"
    source = "Snoek et al. 2005, Early versus Late Fusion in Semantic Video Analysis"
    level = "decision"

    def supports(self, task: mb.Task) -> str | None:
        if task.target.type == "match":
            return "adds a score of each side alone, which can't tell which pairs belong together"
        return None

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules.decision import MeanLogits

        return MeanLogits(inputs, width)
