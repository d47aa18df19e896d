"""Every built-in objective meets the contract."""

from mmbench_objective import mmbench_objectives

from mmbench.testing.objective import ObjectiveContract

for part in mmbench_objectives():
    name = "".join(word.capitalize() for word in part.name.split("_"))
    globals()[f"Test{name}"] = type(f"Test{name}", (ObjectiveContract,), {"part": part})
