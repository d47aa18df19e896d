"""Which meaning belongs to which Chinese character: cross-modal retrieval."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench import Dataset, Match
from mmbench_data.hanzi.characters import ORIGIN, Character, characters
from mmbench_data.splits import by_group, tables

if TYPE_CHECKING:
    import numpy as np
    from datasets import DatasetDict

    Array: TypeAlias = np.ndarray[Any, Any]

SIDE = 64
PEN = 3


class Hanzi(Dataset):
    """The English meaning that belongs to a Chinese character, written and drawn (retrieval, hard).

    6,844 characters with their strokes in the order of writing (a series of pen positions), the picture that these
    draw, 64 x 64, and what a dictionary says of them in English, without sounds and other characters. No two characters
    mean the same. 4,106, 1,369 and 1,369 at random. What parts look like says a little of what a character means, so
    scores are low and methods must be compared by more than one seed.

    Mean reciprocal rank among 1,369 of a ridge regression from pixels and statistics of the strokes to word vectors
    (TF-IDF, 100 components): strokes .008, image .015, both .016; by chance .006. Of the right meanings 2.8% are among
    the first ten, by chance .7%.
    """

    name = "hanzi"
    columns = {"strokes": "series", "image": "image", "meaning": "text"}
    target = Match(left=("strokes", "image"), right=("meaning",))
    licence = "Arphic Public License (strokes, hanzi-writer-data); CC BY-SA 4.0 (meanings, CC-CEDICT)"
    source = "https://github.com/chanind/hanzi-writer-data"
    citation = (
        "Make Me a Hanzi and Hanzi Writer, https://hanziwriter.org, from fonts of Arphic Technology; CC-CEDICT, "
        "https://cc-cedict.org, by MDBG"
    )

    def origin(self) -> str:
        return ORIGIN

    def load(self, cache: Path) -> "DatasetDict":
        from datasets import Image, List, Value

        found = characters()
        columns: dict[str, list[Any]] = {
            "strokes": [series(one) for one in found],
            "image": [{"bytes": picture(one), "path": None} for one in found],
            "meaning": [one.meaning for one in found],
            "character": [one.character for one in found],
        }
        features = {
            "strokes": List(List(Value("float32"))),
            "image": Image(),
            "meaning": Value("string"),
            "character": Value("string"),
        }
        return tables(columns, by_group(columns["character"]), features)


def series(character: Character) -> "Array":
    """[T, 3]: where the pen is, from the lower left in 0..1, and 1 where it has just been set down."""
    import numpy as np

    lines = [np.concatenate([line, np.eye(len(line), 1, dtype=np.float32)], axis=1) for line in character.strokes]
    return np.concatenate(lines)


def picture(character: Character) -> bytes:
    """The strokes drawn in black on white, as a PNG."""
    from PIL import Image, ImageDraw

    image = Image.new("L", (SIDE, SIDE), 255)
    draw = ImageDraw.Draw(image)
    for line in character.strokes:
        places = [(float(x) * (SIDE - 1), (1 - float(y)) * (SIDE - 1)) for x, y in line]
        draw.line(places, fill=0, width=PEN, joint="curve")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
