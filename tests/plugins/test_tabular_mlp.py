from mmbench_tabular.mlp import MLP

from mmbench.testing.encoder import EncoderContract


class TestMLP(EncoderContract):
    part = MLP
