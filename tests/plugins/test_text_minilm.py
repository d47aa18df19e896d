from mmbench_text.minilm import MiniLM

from mmbench.testing.encoder import EncoderContract


class TestMiniLM(EncoderContract):
    part = MiniLM
    rows = 6
    configurations = 2
