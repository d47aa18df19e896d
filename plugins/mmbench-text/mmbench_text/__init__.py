"""Built-in plugin mmbench-text: encoders of text."""

import mmbench as mb
from mmbench_text.embedding import Embedding


@mb.hookimpl
def mmbench_encoders() -> list[type[mb.Encoder]]:
    return [Embedding]
