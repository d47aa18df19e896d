from mmbench_series.encoders import CNN1D, GRU

from mmbench.testing.encoder import EncoderContract


class TestCNN1D(EncoderContract):
    part = CNN1D


class TestGRU(EncoderContract):
    part = GRU
