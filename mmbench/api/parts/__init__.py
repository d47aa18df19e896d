"""The parts that plugins bring, one file for each role, and what passes between them."""

from mmbench.api.parts.corruption import Corruption as Corruption
from mmbench.api.parts.dataset import Dataset as Dataset
from mmbench.api.parts.encoder import Encoder as Encoder
from mmbench.api.parts.features import Epoch as Epoch
from mmbench.api.parts.features import Features as Features
from mmbench.api.parts.features import FeatureSpec as FeatureSpec
from mmbench.api.parts.features import Fused as Fused
from mmbench.api.parts.features import gather as gather
from mmbench.api.parts.fusion import Fusion as Fusion
from mmbench.api.parts.head import Head as Head
from mmbench.api.parts.metric import Metric as Metric
from mmbench.api.parts.objective import Objective as Objective
from mmbench.api.parts.part import Arrays as Arrays
from mmbench.api.parts.part import Part as Part
from mmbench.api.parts.part import State as State
from mmbench.api.parts.training import Optimizer as Optimizer
from mmbench.api.parts.training import Schedule as Schedule
