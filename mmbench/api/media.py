"""Pictures and sounds from the bytes of a file, by fixed rules. `columns` calls it; docs/plugins.md states the rules.

Whatever Pillow or soundfile raises of a file that isn't what it claims to be is raised to the caller.
"""

from typing import IO, TYPE_CHECKING, Any, TypeAlias

from mmbench.api.data import Sound
from mmbench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Array: TypeAlias = np.ndarray[Any, Any]

File: TypeAlias = "IO[bytes] | str"
Colour: TypeAlias = "str | tuple[int, int, int]"
DEEP = 257  # 65535 / 255: what one step of 8 bits is in 16


def picture(file: File, background: Colour = "white") -> "Image.Image":
    """The first frame as RGB, 8 bits a channel, turned as its EXIF says; colour profiles are ignored.

    What is transparent is laid on `background`. Grey of 16 bits is scaled by 65535 and floats by 1, never clipped;
    floats beyond 0 to 1 and whole numbers of 32 bits have no range to scale by and are a DataError.
    """
    from PIL import Image, ImageOps

    with Image.open(file) as opened:
        form = opened.format
        image = ImageOps.exif_transpose(opened)
    if image.mode == "LAB":
        return _from_lab(image)
    image = _eight_bits(image, form)
    if not image.has_transparency_data:
        return image.convert("RGB")
    ink = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
    if ink.getchannel("A").getextrema() == (255, 255):
        return ink.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", ink.size, background), ink).convert("RGB")


def _eight_bits(image: "Image.Image", form: str | None) -> "Image.Image":
    """The same with 8 bits a channel; what has no more is left alone."""
    import numpy as np
    from PIL import Image

    wide = image.mode.startswith("I;16") or (image.mode == "I" and form in ("PNG", "PPM"))
    if wide:
        numbers: Array = np.asarray(image).astype(np.int64)
        grey = Image.fromarray(((numbers + DEEP // 2) // DEEP).clip(0, 255).astype(np.uint8))
        key = image.info.get("transparency")
        if isinstance(key, int):
            grey.putalpha(Image.fromarray(np.where(numbers == key, 0, 255).astype(np.uint8)))
        return grey
    if image.mode == "I":
        raise DataError("whole numbers of 32 bits have no range to scale by: store 8 or 16 bits, or floats from 0 to 1")
    if image.mode == "F":
        numbers = np.asarray(image)
        low, high = float(numbers.min()), float(numbers.max())
        if not (low >= 0 and high <= 1):
            raise DataError(
                f"floats from {low:g} to {high:g}: only those from 0 to 1 can be scaled; divide by their range"
            )
        return Image.fromarray((numbers * 255).round().astype(np.uint8))
    return image


def _from_lab(image: "Image.Image") -> "Image.Image":
    """CIE L*a*b* as sRGB, which Pillow does by a colour transform only."""
    from PIL import Image, ImageCms

    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    made = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
    if not isinstance(made, Image.Image):
        raise DataError("Pillow can't turn this L*a*b* picture into RGB")
    return made


def sound(file: File) -> Sound:
    """The mean of the channels; whole numbers of any width are scaled by their range to -1..1, floats left as they are.

    No samples, samples that are not finite, and a rate that is none are a DataError.
    """
    import numpy as np
    import soundfile

    samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    if not len(samples) or rate < 1:
        raise DataError("a sound without samples" if not len(samples) else f"a sound of {rate} samples a second")
    mono = samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise DataError("a sound with samples that are not finite")
    return Sound(samples=mono, rate=rate)


def is_colour(background: object) -> bool:
    """Whether Pillow reads it as a colour without transparency."""
    from PIL import ImageColor

    if isinstance(background, tuple):
        return len(background) == 3 and all(isinstance(part, int) and 0 <= part <= 255 for part in background)
    try:
        return isinstance(background, str) and len(ImageColor.getrgb(background)) == 3
    except ValueError:
        return False
