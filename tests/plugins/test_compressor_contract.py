"""Every built-in compressor meets its contract."""

from mmbench_compressor.half import Half

from mmbench.testing.compressor import CompressorContract


class TestHalf(CompressorContract):
    part = Half
