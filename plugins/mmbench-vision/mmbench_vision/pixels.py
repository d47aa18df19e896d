"""Images as square arrays, for every encoder of this plugin."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image


def resized(image: "Image", size: int) -> "np.ndarray[Any, Any]":
    """uint8 [size, size, 3]; the sides are scaled one by one, so nothing is cut off."""
    import numpy as np
    from PIL.Image import Resampling

    return np.asarray(image.convert("RGB").resize((size, size), Resampling.BILINEAR))
