"""Every built-in corruption meets the contract."""

from mmbench_corruption.missing import Missing
from mmbench_corruption.noise import Noise
from mmbench_corruption.typos import Typos

from mmbench.testing.corruption import CorruptionContract


class TestMissing(CorruptionContract):
    part = Missing


class TestNoise(CorruptionContract):
    part = Noise


class TestTypos(CorruptionContract):
    part = Typos
