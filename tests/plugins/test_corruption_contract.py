"""Every built-in corruption meets the contract."""

from mmbench_corruption import mmbench_corruptions

from mmbench.testing.corruption import CorruptionContract

for part in mmbench_corruptions():
    name = "".join(word.capitalize() for word in part.name.split("_"))
    globals()[f"Test{name}"] = type(f"Test{name}", (CorruptionContract,), {"part": part})
