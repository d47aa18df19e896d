from mmbench_text.embedding import Embedding

from mmbench.testing.encoder import EncoderContract


class TestEmbedding(EncoderContract):
    part = Embedding
