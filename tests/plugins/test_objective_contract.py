"""Every built-in objective meets the contract."""

from mmbench_objective.alignment import Contrastive
from mmbench_objective.balance import ModalityDropout, OgmGe

from mmbench.testing.objective import ObjectiveContract


class TestOgmGe(ObjectiveContract):
    part = OgmGe


class TestModalityDropout(ObjectiveContract):
    part = ModalityDropout


class TestContrastive(ObjectiveContract):
    part = Contrastive
