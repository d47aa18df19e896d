"""Series with segments that are held, with drift, with a span that is gone. A series is [T, C]."""

from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench_corruption.rows import ByRow, span, unless_same

if TYPE_CHECKING:
    import numpy as np

MOST = mb.Float(0.25, 1.0, default=0.75)


class DroppedSegments(ByRow):
    """Dropped segments: of `pieces` equal ones each is zero in one channel with a probability of severity * rate.

    Each piece and channel is drawn by itself, as sensors that fail for a while do.
    """

    name = "dropped_segments"
    kinds = ("series",)
    space = {"rate": mb.Float(0.2, 1.0, default=0.8), "pieces": mb.Int(4, 32, default=10, structural=False)}

    def damaged(self, value: Any, severity: float, generator: "np.random.Generator", **settings: Any) -> Any:
        import numpy as np

        array, pieces = np.asarray(value), settings["pieces"]
        lost = generator.random((pieces, array.shape[1])) < severity * settings["rate"]
        piece = np.arange(len(array)) * pieces // max(1, len(array))
        return unless_same(np.where(lost[piece], 0, array), value)


class Drift(ByRow):
    """Drift: each channel wanders away along a line, up or down.

    x_t + severity * scale * s * u * t / (T - 1),  s the channel's deviation in this series, |u| uniform in 0.5..1
    """

    name = "drift"
    kinds = ("series",)
    space = {"scale": mb.Float(0.5, 8.0, log=True, default=3.0)}

    def damaged(self, value: Any, severity: float, generator: "np.random.Generator", **settings: Any) -> Any:
        import numpy as np

        array = np.asarray(value, dtype=np.float64)
        ends = generator.uniform(0.5, 1.0, array.shape[1]) * generator.choice([-1, 1], array.shape[1])
        if not len(array):
            return value
        line = np.linspace(0, 1, len(array))[:, None]
        return unless_same(array + severity * settings["scale"] * array.std(0) * ends * line, value)


class MissingSpan(ByRow):
    """A missing span: severity * most of the steps, in a row, keep the last value before them (zero at the start).

    All channels are gone at once, as when a recorder stops.
    """

    name = "missing_span"
    kinds = ("series",)
    space = {"most": MOST}

    def damaged(self, value: Any, severity: float, generator: "np.random.Generator", **settings: Any) -> Any:
        import numpy as np

        array = np.array(value)
        gone = span(len(array), severity * settings["most"], generator)
        array[gone] = array[gone.start - 1] if gone.start else 0
        return unless_same(array, value)
