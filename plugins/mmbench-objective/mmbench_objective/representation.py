"""Objectives that shape the features: reconstruction and mixing. Modules: `mmbench_objective.modules.representation`.

x_m [B, D_m] are pooled features, sg stops the gradient.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import mmbench as mb
from mmbench.api.space import Params
from mmbench_objective.fits import needs_modalities, needs_target


class _Rebuilt(mb.Objective):
    module: ClassVar[str]
    space = {"weight": mb.Float(0.01, 1.0, log=True, default=0.1), "size": mb.Int(8, 64, log=True, default=16)}

    def build(self, inputs: Mapping[str, mb.FeatureSpec], outputs: int, params: Params) -> Any:
        from mmbench_objective.modules import representation

        return getattr(representation, self.module)(inputs, **params)


class Reconstruction(_Rebuilt):
    """Reconstruction: each modality's features must pass a narrow layer (autoencoder).

        loss = weight * mean over m of mean over rows of |B_m gelu(A_m x_m) - sg(x_m)|^2 / D_m
        A_m [size, D_m], B_m [D_m, size], each with a bias

    Rows that lack m don't count for m.
    """

    name = "reconstruction"
    source = "doi:10.1126/science.1127647"
    module = "Reconstruction"


class MaskedReconstruction(_Rebuilt):
    """Masked reconstruction: each modality's features must be told from those of the others.

        loss = weight * mean over m of mean over rows of |B_m gelu(mean over n != m of A_n x_n) - sg(x_m)|^2 / D_m
        A_n [size, D_n], B_m [D_m, size], each with a bias

    A whole modality is masked, as in ActionMAE, each in its turn in every step. The mean is over what a row has; rows
    that lack m, or all others, don't count for m.
    """

    name = "masked_reconstruction"
    source = "arXiv:2211.13916"
    module = "MaskedReconstruction"

    def supports(self, task: mb.Task) -> str | None:
        return needs_modalities(task)


class FeatureMixup(mb.Objective):
    """Mixup in feature space (manifold mixup): each row is mixed with another, features and loss alike.

        x_i <- l x_i + (1 - l) x_p(i)                           tokens and inner layers, of all modalities alike
        loss = mean over rows of l error(z_i, y_i) + (1 - l) error(z_i, y_p(i)),  in place of the task's
        l ~ Beta(alpha, alpha), one a step; p a random order of the rows; z the logits

    error is cross-entropy; of labels the mean of the binary ones; of a standardised number the squared error. A token
    that either row has is there. It keeps the order from the features to the loss, which no cohort can.
    """

    name = "feature_mixup"
    source = "arXiv:1806.05236"
    cohort = False
    space = {"alpha": mb.Int(1, 4, default=2)}

    def supports(self, task: mb.Task) -> str | None:
        return needs_target(task)

    def build(self, inputs: Mapping[str, mb.FeatureSpec], outputs: int, params: Params) -> Any:
        from mmbench_objective.modules import representation

        return representation.FeatureMixup(**params)
