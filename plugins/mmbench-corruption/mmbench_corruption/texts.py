"""Texts with characters or words lost, swapped, or in the other case."""

from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench_corruption.rows import ByRow

if TYPE_CHECKING:
    import numpy as np

RATE = mb.Float(0.1, 1.0, default=0.5)
SOURCE = "arXiv:1711.02173"


class CharacterDeletion(ByRow):
    """Lost characters: each goes with a probability of severity * rate."""

    name = "character_deletion"
    kinds = ("text",)
    source = SOURCE
    space = {"rate": RATE}

    def damaged(self, value: Any, severity: float, generator: "np.random.Generator", **settings: Any) -> Any:
        stays = generator.random(len(value)) >= severity * settings["rate"]
        return value if stays.all() else "".join(c for c, there in zip(value, stays, strict=True) if there)


class CharacterSwap(ByRow):
    """Swapped neighbours: each character changes places with the next with a probability of severity * rate.

    From left to right, each at most once.
    """

    name = "character_swap"
    kinds = ("text",)
    source = SOURCE
    space = {"rate": RATE}

    def damaged(self, value: Any, severity: float, generator: "np.random.Generator", **settings: Any) -> Any:
        wrong = generator.random(len(value)) < severity * settings["rate"]
        typed, place = list(value), 0
        while place + 1 < len(typed):
            if wrong[place]:
                typed[place], typed[place + 1] = typed[place + 1], typed[place]
                place += 1
            place += 1
        return _text("".join(typed), value)


class WordDrop(ByRow):
    """Dropped words: each goes with a probability of severity * rate; what stays is joined by single spaces."""

    name = "word_drop"
    kinds = ("text",)
    source = "arXiv:1901.11196"
    space = {"rate": mb.Float(0.1, 1.0, default=0.7)}

    def damaged(self, value: Any, severity: float, generator: "np.random.Generator", **settings: Any) -> Any:
        words = value.split()
        stays = generator.random(len(words)) >= severity * settings["rate"]
        return value if stays.all() else " ".join(word for word, there in zip(words, stays, strict=True) if there)


class Case(ByRow):
    """The other case: each letter turns to upper or lower case with a probability of severity * rate.

    A letter whose other case is longer, such as the German sharp s, is left as it is.
    """

    name = "case"
    kinds = ("text",)
    space = {"rate": RATE}

    def damaged(self, value: Any, severity: float, generator: "np.random.Generator", **settings: Any) -> Any:
        wrong = generator.random(len(value)) < severity * settings["rate"]
        typed = [_other(c) if turns else c for c, turns in zip(value, wrong, strict=True)]
        return _text("".join(typed), value)


def _other(character: str) -> str:
    found = character.swapcase()
    return found if len(found) == 1 else character


def _text(new: str, old: str) -> str:
    return old if new == old else new
