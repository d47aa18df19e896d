"""Built-in fusions: how several modalities' features become one vector, or one decision.

Parts stand by family, each with its equation and its search space; the torch modules are in `modules`, in a
file of the same name, imported only when a part is built.
"""

import mmbench as mb
from mmbench_fusion.baseline import Logistic, Majority
from mmbench_fusion.decision import MeanLogits
from mmbench_fusion.vector import Concat, Gated, Sum


@mb.hookimpl
def mmbench_fusions() -> list[type[mb.Fusion]]:
    return [Concat, Sum, Gated, MeanLogits, Majority, Logistic]
