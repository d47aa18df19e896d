"""Contract tests for plugin authors: inherit a class, name your part, and pytest runs the whole contract on it.

from mmbench.testing.fusion import FusionContract
from my_fusion import Mine

class TestMine(FusionContract):
    part = Mine
"""
