"""Built-in compressors: trained models made smaller or faster."""

import mmbench as mb
from mmbench_compressor.half import Half


@mb.hookimpl
def mmbench_compressors() -> list[type[mb.Compressor]]:
    return [Half]
