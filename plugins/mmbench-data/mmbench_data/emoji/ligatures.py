"""Draws a font's character sequences without a text shaper.

An emoji such as a family is several characters that the font's GSUB table joins to one glyph. Pillow does that only
where the machine has libfribidi, and elsewhere silently draws the parts side by side: the same data set would then
hold other pictures. So the sequences are looked up here and each gets a character of its own.

Source: OpenType 1.9.1, tables cmap (format 12) and GSUB (lookup type 4, ligature substitution).
"""

import struct
from collections.abc import Sequence

from mmbench.errors import DataError

PRIVATE = 0xF0000  # Supplementary Private Use Area-A


def one_character_each(font: bytes, sequences: Sequence[Sequence[int]]) -> bytes:
    """The same font with another character map: `chr(PRIVATE + i)` draws what `sequences[i]` (code points) stands for.

    Raises DataError if the font has no single glyph for a sequence.
    """
    characters, ligatures = _characters(font), _ligatures(font)
    glyphs = []
    for sequence in sequences:
        plain = [code for code in sequence if code != 0xFE0F]  # the wish for a coloured picture: there is no other
        for codes in (sequence, plain):
            names = tuple(characters.get(code, 0) for code in codes)
            glyph = names[0] if len(names) == 1 else ligatures.get(names, 0)
            if glyph:
                break
        else:
            raise DataError(f"the font has no glyph for {'-'.join(f'{code:04X}' for code in sequence)}")
        glyphs.append(glyph)
    return _with_characters(font, glyphs)


def _entries(font: bytes) -> dict[bytes, int]:
    """{tag: where its entry in the table directory begins}"""
    (count,) = struct.unpack_from(">H", font, 4)
    return {font[place : place + 4]: place for place in range(12, 12 + 16 * count, 16)}


def _table(font: bytes, tag: bytes) -> bytes:
    entries = _entries(font)
    if tag not in entries:
        raise DataError(f"the font has no table {tag.decode()}")
    offset, length = struct.unpack_from(">LL", font, entries[tag] + 8)
    return font[offset : offset + length]


def _characters(font: bytes) -> dict[int, int]:
    """{code point: glyph}, from the map of all Unicode."""
    table = _table(font, b"cmap")
    (count,) = struct.unpack_from(">H", table, 2)
    for n in range(count):
        platform, encoding, offset = struct.unpack_from(">HHL", table, 4 + 8 * n)
        if (platform, encoding) == (3, 10):
            (groups,) = struct.unpack_from(">L", table, offset + 12)
            ranges = (struct.unpack_from(">LLL", table, offset + 16 + 12 * g) for g in range(groups))
            return {code: glyph + code - first for first, last, glyph in ranges for code in range(first, last + 1)}
    raise DataError("the font has no map of all Unicode")


def _ligatures(font: bytes) -> dict[tuple[int, ...], int]:
    """{glyphs in a row: the glyph that replaces them}"""
    table = _table(font, b"GSUB")

    def numbers(offset: int, count: int) -> tuple[int, ...]:
        return struct.unpack_from(f">{count}H", table, offset)

    def offsets(start: int, counted_at: int) -> list[int]:
        """The offsets, from `start`, that a count at `counted_at` goes before."""
        return [start + offset for offset in numbers(counted_at + 2, numbers(counted_at, 1)[0])]

    found: dict[tuple[int, ...], int] = {}
    lookups = numbers(8, 1)[0]
    for lookup in offsets(lookups, lookups):
        if numbers(lookup, 1) != (4,):
            continue
        for subtable in offsets(lookup, lookup + 4):
            firsts = _covered(table, subtable + numbers(subtable + 2, 1)[0])
            for first, ligature_set in zip(firsts, offsets(subtable, subtable + 4), strict=True):
                for ligature in offsets(ligature_set, ligature_set):
                    glyph, length = numbers(ligature, 2)
                    found[(first, *numbers(ligature + 4, length - 1))] = glyph
    return found


def _covered(table: bytes, offset: int) -> list[int]:
    """The glyphs of a coverage table, in its order."""
    form, count = struct.unpack_from(">HH", table, offset)
    if form == 1:
        return list(struct.unpack_from(f">{count}H", table, offset + 4))
    ranges = (struct.unpack_from(">HHH", table, offset + 4 + 6 * n) for n in range(count))
    return [glyph for first, last, _ in ranges for glyph in range(first, last + 1)]


def _with_characters(font: bytes, glyphs: Sequence[int]) -> bytes:
    groups = b"".join(struct.pack(">LLL", PRIVATE + n, PRIVATE + n, glyph) for n, glyph in enumerate(glyphs))
    table = struct.pack(">HHHHL", 0, 1, 3, 10, 12)
    table += struct.pack(">HHLLL", 12, 0, 16 + len(groups), 0, len(glyphs)) + groups
    padded = font + bytes(-len(font) % 4)
    entry = _entries(font)[b"cmap"]
    where = struct.pack(">LLL", sum(struct.unpack(f">{len(table) // 4}L", table)) % 2**32, len(padded), len(table))
    return padded[: entry + 4] + where + padded[entry + 16 :] + table
