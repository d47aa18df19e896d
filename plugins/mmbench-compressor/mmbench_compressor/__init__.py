"""Built-in compressors: trained models made smaller or faster."""

import mmbench as mb
from mmbench_compressor.half import Half
from mmbench_compressor.int8 import Int8
from mmbench_compressor.low_rank import LowRank
from mmbench_compressor.prune import Prune


@mb.hookimpl
def mmbench_compressors() -> list[type[mb.Compressor]]:
    return [Half, Int8, LowRank, Prune]
