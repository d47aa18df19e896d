"""Pictures and sounds of every form that files have become what encoders read, by the rules that are written down."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image, ImageCms

from mmbench.api.media import is_colour, picture, sound
from mmbench.errors import DataError

INK, PAPER = (200, 30, 60), (255, 255, 255)


def stored(image: Image.Image, form: str = "PNG", **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file


def pixels(file: io.BytesIO, **options: Any) -> list[Any]:
    """The colours of a picture's only row, from left to right."""
    found = picture(file, **options)
    assert found.mode == "RGB"
    return [found.getpixel((x, 0)) for x in range(found.width)]


def half_clear(mode: str) -> Image.Image:
    """Ink on the left, nothing on the right, and in between half of it; where nothing is, the colour is black."""
    row = [(*INK, 255), (*INK, 128), (0, 0, 0, 0)]
    return Image.fromarray(np.array([row], np.uint8)).convert(mode)


def test_what_is_transparent_is_laid_on_white() -> None:
    ink, between, paper = pixels(stored(half_clear("RGBA")))
    assert (ink, paper) == (INK, PAPER)
    assert np.abs(np.subtract(between, np.add(INK, PAPER) / 2)).max() <= 1
    assert pixels(stored(half_clear("LA")))[2] == PAPER
    assert pixels(stored(half_clear("RGBA"), "WEBP", lossless=True, exact=True))[2] == PAPER


@pytest.mark.parametrize(("background", "colour"), [("black", (0, 0, 0)), ("#0a141e", (10, 20, 30)), ((1, 2, 3),) * 2])
def test_the_background_is_a_choice(background: Any, colour: tuple[int, ...]) -> None:
    assert pixels(stored(half_clear("RGBA")), background=background)[::2] == [INK, colour]


def test_palettes_with_transparency() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([*INK, 0, 0, 0])
    palette.putpixel((1, 0), 1)
    assert pixels(stored(palette)) == [INK, (0, 0, 0)]
    assert pixels(stored(palette, transparency=1)) == [INK, PAPER]
    assert pixels(stored(palette, transparency=bytes([255, 0]))) == [INK, PAPER]
    assert pixels(stored(palette, "GIF", transparency=1)) == [INK, PAPER]


@pytest.mark.parametrize(("mode", "key", "colour"), [("L", 7, 7), ("RGB", (1, 2, 3), (1, 2, 3)), ("1", 0, 0)])
def test_one_colour_that_stands_for_nothing(mode: str, key: Any, colour: Any) -> None:
    image = Image.new(mode, (2, 1), 255 if mode != "RGB" else INK)
    image.putpixel((1, 0), colour)
    assert pixels(stored(image, transparency=key)) == [INK if mode == "RGB" else PAPER, PAPER]


@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG2000", "PPM"])
def test_grey_of_16_bits_is_scaled_by_its_range(form: str) -> None:
    deep = np.array([[0, 128, 129, 257, 32768, 65407, 65535]], np.uint16)
    found = pixels(stored(Image.fromarray(deep), form, **({"irreversible": False} if form == "JPEG2000" else {})))
    assert [red for red, _, _ in found] == [0, 0, 1, 1, 128, 255, 255]


def test_big_endian_16_bits() -> None:
    deep = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 257 * 9, 65535))
    assert pixels(stored(deep, "TIFF")) == [(9,) * 3, PAPER]


def png(bits: int, kind: int, row: bytes, clear: bytes = b"") -> io.BytesIO:
    """A picture of one row in a form that Pillow reads but does not write."""
    width = len(row) * 8 // bits // {0: 1, 2: 3, 6: 4}[kind]
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, 1, bits, kind, 0, 0, 0)), (b"tRNS", clear)]
    parts += [(b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    chunks = [(name, content) for name, content in parts if content or name != b"tRNS"]
    made = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks]
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(made))


def test_16_bits_a_channel_and_16_bits_with_a_clear_value() -> None:
    assert pixels(png(16, 2, struct.pack(">3H", 257 * 200, 257 * 30, 257 * 60))) == [INK]
    assert pixels(png(16, 6, struct.pack(">8H", 51400, 7710, 15420, 65535, 0, 0, 0, 0))) == [INK, PAPER]
    assert pixels(png(16, 0, struct.pack(">2H", 257 * 9, 1000), struct.pack(">H", 1000))) == [(9,) * 3, PAPER]


def test_floats_from_0_to_1_are_scaled_and_others_refused() -> None:
    unit = Image.fromarray(np.array([[0, 0.5, 1]], np.float32))
    assert pixels(stored(unit, "TIFF")) == [(0,) * 3, (128,) * 3, PAPER]
    for numbers in ([0, 255.0], [-0.1, 1], [0, np.nan]):
        with pytest.raises(DataError, match=r"floats from .*: only those from 0 to 1 can be scaled"):
            picture(stored(Image.fromarray(np.array([numbers], np.float32)), "TIFF"))


def test_whole_numbers_of_32_bits_are_refused() -> None:
    with pytest.raises(DataError, match="32 bits have no range to scale by"):
        picture(stored(Image.fromarray(np.array([[0, 70000]], np.int32)), "TIFF"))


def test_a_bit_a_pixel_cmyk_and_ycbcr() -> None:
    assert pixels(stored(Image.fromarray(np.array([[True, False]])))) == [PAPER, (0, 0, 0)]
    assert pixels(stored(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "TIFF")) == [(255, 0, 0)]
    (found,) = pixels(stored(Image.new("RGB", (8, 8), INK).convert("YCbCr").resize((1, 1)), "TIFF"))
    assert np.abs(np.subtract(found, INK)).max() <= 3


def test_lab_is_turned_into_srgb() -> None:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(Image.new("RGB", (1, 1), INK), *profiles, outputMode="LAB")
    assert lab is not None
    (found,) = pixels(stored(lab, "TIFF"))
    assert np.abs(np.subtract(found, INK)).max() <= 4


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame(form: str) -> None:
    frames = [Image.new("RGB", (1, 1), colour) for colour in (INK, (0, 0, 255))]
    lossless = {"lossless": True} if form == "WEBP" else {}
    assert pixels(stored(frames[0], form, save_all=True, append_images=frames[1:], **lossless)) == [INK]


def test_pictures_are_turned_as_their_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    image = Image.new("RGB", (2, 1), INK)
    image.putpixel((1, 0), PAPER)
    found = picture(stored(image, exif=exif))
    assert (found.size, found.getpixel((0, 0)), found.getpixel((0, 1))) == ((1, 2), INK, PAPER)


def test_a_colour_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert pixels(stored(Image.new("RGB", (1, 1), INK), icc_profile=profile)) == [INK]


def test_what_is_a_colour() -> None:
    assert all(map(is_colour, ("white", "#fff", "rgb(1, 2, 3)", (0, 0, 0))))
    assert not any(map(is_colour, ("whitte", "#ffffff00", (1, 2), (0, 0, 256), 3, None)))


def wav(samples: Any, rate: int = 8000, subtype: str = "PCM_16") -> io.BytesIO:
    file = io.BytesIO()
    soundfile.write(file, np.asarray(samples), rate, format="WAV", subtype=subtype)
    return file


@pytest.mark.parametrize(
    ("subtype", "near"), [("PCM_U8", 1 / 127), ("PCM_16", 1e-4), ("PCM_24", 1e-6), ("PCM_32", 1e-6)]
)
def test_sounds_of_whole_numbers_are_scaled_by_their_range(subtype: str, near: float) -> None:
    loud = np.array([-1, -0.5, 0, 0.5, 0.99])
    found = sound(io.BytesIO(wav(loud, subtype=subtype).getvalue()))
    assert (found.samples.dtype, found.rate) == (np.float32, 8000)
    np.testing.assert_allclose(found.samples, loud, atol=near)


def test_floats_are_left_as_they_are_and_channels_become_their_mean() -> None:
    stereo = np.array([[3.0, 1.0], [0.5, -0.5]], np.float32)
    assert sound(io.BytesIO(wav(stereo, subtype="FLOAT").getvalue())).samples.tolist() == [2, 0]


def rateless() -> bytes:
    content = bytearray(wav([0.0] * 4).getvalue())
    content[24:28] = bytes(4)
    return bytes(content)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: wav(np.zeros(0)).getvalue(), "without samples"),
        (lambda: wav(np.array([0, np.nan], np.float32), subtype="FLOAT").getvalue(), "not finite"),
        (lambda: wav(np.array([0, 1e300]), subtype="DOUBLE").getvalue(), "not finite"),
        (rateless, "0 samples a second|[Ee]rror"),
    ],
)
def test_sounds_without_sense_are_refused(make: Callable[[], bytes], said: str) -> None:
    with pytest.raises((DataError, soundfile.LibsndfileError), match=said):
        sound(io.BytesIO(make()))


def test_a_path_is_as_good_as_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(stored(half_clear("RGBA")).getvalue())
    assert picture(str(tmp_path / "a.png")).getpixel((2, 0)) == PAPER
