"""Compressors: a trained model made smaller or faster.

A contender with `of` is derived: it takes the trained models of another contender, one for each seed, and changes them.
"""

from typing import TYPE_CHECKING

from mmbench.api.parts.part import Part
from mmbench.api.space import Params

if TYPE_CHECKING:
    from torch import nn


class Compressor(Part):
    """Makes a trained model smaller or faster. Its space is searched on validation like any other.

    The model has `encoders`, an nn.ModuleDict of the module of each modality, `fusion` and `head`. What these take and
    give must stay what it was, for the engine goes on calling them: encoders take arrays of float32 and integers.
    """

    role = "compressor"

    def compress(self, model: "nn.Module", params: Params) -> "nn.Module":
        """Give the model that takes the trained one's place: the same, changed, or another. It is in evaluation mode
        and stays so, unless `epochs` asks for training; nothing else holds it. Called without gradients being
        recorded."""
        raise NotImplementedError

    def epochs(self, params: Params) -> int:
        """For how many epochs what `compress` gives is trained on, as the trained model was: by its recipe, on the same
        rows. The epoch whose validation score is best counts. What must not move has no gradient."""
        return 0
