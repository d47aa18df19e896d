from mmbench_vision.cnn import CNN

from mmbench.testing.encoder import EncoderContract


class TestCNN(EncoderContract):
    part = CNN
