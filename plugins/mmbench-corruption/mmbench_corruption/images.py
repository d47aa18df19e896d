"""Pictures out of focus, pale, covered, squeezed, turned, in haze. Sizes are shares of the picture's own."""

from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench_corruption.rows import ByRow, unless_same_image

if TYPE_CHECKING:
    import numpy as np

SOURCE = "arXiv:1903.12261"


class Blur(ByRow):
    """Gaussian blur: a radius of severity * size * the shorter side, a tenth more or less by chance.

    The radius is the deviation of the Gaussian, in pixels; Pillow draws it by three boxes.
    """

    name = "blur"
    kinds = ("image",)
    source = SOURCE
    space = {"size": mb.Float(0.01, 0.2, log=True, default=0.05)}

    def damaged(self, value: Any, severity: float, generator: "np.random.Generator", **settings: Any) -> Any:
        from PIL import ImageFilter

        radius = severity * settings["size"] * min(value.size) * generator.uniform(0.9, 1.1)
        return unless_same_image(value.filter(ImageFilter.GaussianBlur(radius)), value)


class Contrast(ByRow):
    """Lost contrast: each colour shrinks to its mean.

    mean + c (pixel - mean),  c = 1 - severity * most * u,  u uniform in 0.9..1
    """

    name = "contrast"
    kinds = ("image",)
    source = SOURCE
    space = {"most": mb.Float(0.5, 1.0, default=0.95)}

    def damaged(self, value: Any, severity: float, generator: "np.random.Generator", **settings: Any) -> Any:
        import numpy as np

        pixels = np.asarray(value, dtype=np.float64)
        kept = 1 - severity * settings["most"] * generator.uniform(0.9, 1.0)
        mean = pixels.mean((0, 1))
        return unless_same_image(_picture(mean + kept * (pixels - mean)), value)


class Occlusion(ByRow):
    """Occlusion: a grey rectangle of the picture's shape, somewhere, over severity * most of its area."""

    name = "occlusion"
    kinds = ("image",)
    source = "arXiv:1708.04552"
    space = {"most": mb.Float(0.25, 1.0, default=0.75)}

    def damaged(self, value: Any, severity: float, generator: "np.random.Generator", **settings: Any) -> Any:
        import numpy as np

        pixels = np.array(value)
        sides = [max(1, round(side * (severity * settings["most"]) ** 0.5)) for side in pixels.shape[:2]]
        top, left = (
            int(generator.integers(0, full - side + 1)) for full, side in zip(pixels.shape[:2], sides, strict=True)
        )
        pixels[top : top + sides[0], left : left + sides[1]] = 128
        return unless_same_image(_picture(pixels), value)


class Jpeg(ByRow):
    """JPEG: squeezed at quality 90 - severity * (90 - worst), up to five more by chance, and read again."""

    name = "jpeg"
    kinds = ("image",)
    source = SOURCE
    space = {"worst": mb.Int(1, 50, default=5, structural=False)}

    def damaged(self, value: Any, severity: float, generator: "np.random.Generator", **settings: Any) -> Any:
        import io

        from PIL import Image

        quality = round(90 - severity * (90 - settings["worst"])) + int(generator.integers(0, 6))
        file = io.BytesIO()
        value.save(file, "JPEG", quality=quality)
        with Image.open(io.BytesIO(file.getvalue())) as found:
            return unless_same_image(found.convert("RGB"), value)


class Rotation(ByRow):
    """Rotation about the middle, to either side; corners grey.

    angle = severity * most * u degrees,  u uniform in 0.5..1
    """

    name = "rotation"
    kinds = ("image",)
    source = "arXiv:1712.02779"
    space = {"most": mb.Float(10.0, 180.0, default=90.0)}

    def damaged(self, value: Any, severity: float, generator: "np.random.Generator", **settings: Any) -> Any:
        from PIL import Image

        angle = severity * settings["most"] * generator.uniform(0.5, 1.0) * generator.choice([-1, 1])
        turned = value.rotate(float(angle), resample=Image.Resampling.BILINEAR, fillcolor=(128, 128, 128))
        return unless_same_image(turned, value)


class Haze(ByRow):
    """Haze: (1 - t) pixel + 220 t, where t varies smoothly over the picture about severity * most.

    t = severity * most * (0.7 + 0.3 f), f in 0..1 a random 4 x 4 grid, drawn out bilinearly. At severity 1 and most 1
    between 70% and all of the picture's light is the haze's.
    """

    name = "haze"
    kinds = ("image",)
    source = SOURCE
    space = {"most": mb.Float(0.3, 1.0, default=0.9)}

    def damaged(self, value: Any, severity: float, generator: "np.random.Generator", **settings: Any) -> Any:
        import numpy as np
        from PIL import Image

        grid = Image.fromarray(generator.random((4, 4)).astype(np.float32))
        field = np.asarray(grid.resize(value.size, Image.Resampling.BILINEAR))[:, :, None]
        share = severity * settings["most"] * (0.7 + 0.3 * field)
        pixels = np.asarray(value, dtype=np.float64)
        return unless_same_image(_picture((1 - share) * pixels + 220 * share), value)


def _picture(pixels: Any) -> Any:
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.asarray(pixels).round().clip(0, 255).astype(np.uint8))
