"""Every built-in compressor meets its contract."""

from mmbench_compressor.half import Half
from mmbench_compressor.int8 import Int8
from mmbench_compressor.low_rank import LowRank
from mmbench_compressor.prune import Prune

from mmbench.testing.compressor import CompressorContract


class TestHalf(CompressorContract):
    part = Half


class TestInt8(CompressorContract):
    part = Int8


class TestLowRank(CompressorContract):
    part = LowRank


class TestPrune(CompressorContract):
    part = Prune
