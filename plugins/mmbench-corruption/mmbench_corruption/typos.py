"""Text as people type it in a hurry."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench.api.space import Params

if TYPE_CHECKING:
    import numpy as np

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Typos(mb.Corruption):
    """Typing errors: each character goes wrong with a probability of severity * rate.

    A character that goes wrong is, one as likely as another, left out, typed twice, replaced by a random letter of
    a to z, or swapped with the next. A text in which nothing goes wrong stays the same object.
    """

    name = "typos"
    kinds = ("text",)
    space = {"rate": mb.Float(0.05, 1.0, default=0.5)}

    def apply(
        self, column: Sequence[Any], severity: float, generator: "np.random.Generator", params: Params
    ) -> list[Any]:
        rate = severity * float(params.get("rate", self.space["rate"].default))
        return [None if text is None else _typed(text, rate, generator) for text in column]


def _typed(text: str, rate: float, generator: "np.random.Generator") -> str:
    wrong = generator.random(len(text)) < rate
    if not wrong.any():
        return text
    kinds = generator.integers(0, 4, len(text))
    letters = generator.integers(0, len(LETTERS), len(text))
    typed: list[str] = []
    place = 0
    while place < len(text):
        character = text[place]
        if not wrong[place] or (kinds[place] == 3 and place + 1 == len(text)):
            typed.append(character)
        elif kinds[place] == 1:
            typed += [character, character]
        elif kinds[place] == 2:
            typed.append(LETTERS[letters[place]])
        elif kinds[place] == 3:
            typed += [text[place + 1], character]
            place += 1
        place += 1
    return "".join(typed)
