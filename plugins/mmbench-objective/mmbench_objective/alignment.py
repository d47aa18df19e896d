"""Objectives that draw the modalities of one row together. The modules are in `mmbench_objective.modules.alignment`."""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params


class Contrastive(mb.Objective):
    """Contrastive alignment: each row's modalities must find each other among the batch (symmetric InfoNCE).

        z_m  = P_m x_m / |P_m x_m|                                     x_m pooled, [B, D_m]; z_m [B, size]
        l_ab = - mean over rows i of log softmax over j of (z_a,i . z_b,j / temperature), at j = i
        loss = weight * mean over pairs a < b of (l_ab + l_ba) / 2

    With `learned` the temperature is a parameter that starts at the given value and never falls under 0.01, as in
    CLIP. A row that lacks a or b takes no part in l_ab, neither as i nor as j.
    """

    name = "contrastive"
    source = "arXiv:2103.00020"
    space = {
        "weight": mb.Float(0.01, 1.0, log=True, default=0.1),
        "temperature": mb.Float(0.03, 1.0, log=True, default=0.1),
        "learned": mb.Choice((True, False), default=True),
        "size": mb.Int(16, 128, log=True, default=32),
    }

    def supports(self, task: mb.Task) -> str | None:
        return "needs at least two modalities" if len(task.modalities) < 2 else None

    def build(self, inputs: Mapping[str, mb.FeatureSpec], outputs: int, params: Params) -> Any:
        from mmbench_objective.modules import alignment

        return alignment.Contrastive(inputs, **params)
