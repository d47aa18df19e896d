"""Built-in corruptions: missing values, noise, typos."""

import mmbench as mb
from mmbench_corruption.missing import Missing
from mmbench_corruption.noise import Noise
from mmbench_corruption.typos import Typos


@mb.hookimpl
def mmbench_corruptions() -> list[type[mb.Corruption]]:
    return [Missing, Noise, Typos]
