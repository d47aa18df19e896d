"""Built-in objectives: training signals beyond the task's loss.

Each file here holds parts with their equations and search spaces; the torch modules are in `modules`, imported only
when a part is built.
"""

import mmbench as mb
from mmbench_objective import heads, likeness, losses, representation, strategies
from mmbench_objective.alignment import Contrastive
from mmbench_objective.balance import ModalityDropout, OgmGe


@mb.hookimpl
def mmbench_objectives() -> list[type[mb.Objective]]:
    return [
        OgmGe,
        ModalityDropout,
        Contrastive,
        heads.AuxiliaryHeads,
        heads.Consistency,
        heads.MMCosine,
        heads.CML,
        heads.MutualDistillation,
        losses.Focal,
        losses.LabelSmoothing,
        losses.ClassWeights,
        losses.Huber,
        losses.MAE,
        losses.Asymmetric,
        likeness.SupervisedContrastive,
        likeness.CCA,
        likeness.CMD,
        likeness.MMD,
        likeness.Symile,
        likeness.GRAM,
        likeness.Adversarial,
        representation.Reconstruction,
        representation.MaskedReconstruction,
        representation.FeatureMixup,
        strategies.ModalityRates,
        strategies.AGM,
        strategies.PMR,
        strategies.Alternating,
        strategies.OPM,
        strategies.MMPareto,
    ]
