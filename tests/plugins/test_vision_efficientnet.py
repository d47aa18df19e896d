from mmbench_vision.efficientnet import EfficientNetLite0

from mmbench.testing.encoder import EncoderContract


class TestEfficientNetLite0(EncoderContract):
    part = EfficientNetLite0
    rows = 6
    configurations = 2
