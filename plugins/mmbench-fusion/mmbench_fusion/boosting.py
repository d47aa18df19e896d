"""A baseline of boosted trees that puts the modalities' plain features beside each other and fits scikit-learn.

The estimator is in `mmbench_fusion.modules.boosting`; see `mmbench_fusion.baseline` for the others of its kind.
"""

from collections.abc import Mapping
from typing import Any

import mmbench as mb
from mmbench.api.space import Params
from mmbench_fusion.baseline import Logistic


class Boosting(mb.Fusion):
    """Gradient-boosted trees on histograms (as LightGBM) of the joined plain features.

        label: softmax of the sum over i = 1..trees of rate * tree_ik(s), a tree for each class, s = [x_1; ...; x_M]
        labels: one such sigmoid for each label      number: the sum of trees, by squared error

    Each tree is fitted to the gradient of the loss so far, its cuts between the 255 bins of each column, until it has
    `leaves` leaves. No row is held out to stop early: the search chooses `trees`. A missing modality is the zeros that
    the engine puts in its place.
    """

    name = "boosting"
    source = "https://scikit-learn.org/stable/modules/ensemble.html#histogram-based-gradient-boosting"
    level = "estimator"
    libraries = ("sklearn.linear_model", "sklearn.ensemble")
    space = {
        "trees": mb.Int(20, 200, log=True, default=100),
        "rate": mb.Float(0.02, 0.3, log=True, default=0.1),
        "leaves": mb.Int(4, 31, log=True, default=31),
    }

    def supports(self, task: mb.Task) -> str | None:
        return Logistic().supports(task)

    def build(self, inputs: Mapping[str, mb.FeatureSpec], width: int, params: Params) -> Any:
        from mmbench_fusion.modules import boosting

        return boosting.boosted(width, **params)
