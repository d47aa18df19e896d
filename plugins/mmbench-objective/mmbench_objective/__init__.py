"""Built-in objectives: training signals beyond the task's loss.

Each file here holds parts with their equations and search spaces; the torch modules are in `modules`, imported only
when a part is built.
"""

import mmbench as mb
from mmbench_objective.alignment import Contrastive
from mmbench_objective.balance import ModalityDropout, OgmGe


@mb.hookimpl
def mmbench_objectives() -> list[type[mb.Objective]]:
    return [OgmGe, ModalityDropout, Contrastive]
