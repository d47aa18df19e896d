"""Says from which trained models a derived cell begins, or why there are none."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from mmbench.engine.jobs.job import Origin, Trained
from mmbench.engine.outcome import Progressing
from mmbench.plugins import Catalog

Kept: TypeAlias = Callable[[str, int], Path | None]
"""(cell key, seed number) -> the file with the weights of that refit of the winner, if they were kept."""


def origin(parent: Progressing, catalog: Catalog, kept: Kept) -> Origin | str:
    """What the search of `parent`, which is over, has left to be changed; or in a sentence why nothing can be."""
    name, key = repr(parent.cell.contender), parent.cell.key
    parent.settle()
    tuned = [refit for refit in parent.refits if refit.role == "tuned"]
    broken = next((refit for refit in tuned if refit.status != "ok"), None)
    if parent.failure:
        return f"{name}, whose models it takes, ended badly: {parent.failure[1]}"
    if parent.winner is None:
        return f"{name}, whose models it takes, has no trial that ended well"
    if broken:
        return f"{name}, whose models it takes, ended badly: refit {broken.seed}: {broken.reason}"
    if len(tuned) < parent.cell.budget.refit_seeds:
        return f"{name}, whose models it takes, was not trained with every seed"
    if catalog.fusions[parent.winner.params["fusion"]].level == "estimator":
        return f"the winner of {name} is {parent.winner.params['fusion']}, which is no network"
    refits = {refit.seed: Trained(refit.valid or 0.0, kept(key, refit.seed)) for refit in tuned}
    return Origin(parent.winner.params, refits)
