"""Built-in plugin mmbench-text: encoders of text."""

import mmbench as mb
from mmbench_text.embedding import Embedding
from mmbench_text.minilm import MiniLM
from mmbench_text.sequence import WordLSTM, WordTransformer
from mmbench_text.tfidf import TfIdf


@mb.hookimpl
def mmbench_encoders() -> list[type[mb.Encoder]]:
    return [Embedding, MiniLM, TfIdf, WordLSTM, WordTransformer]
