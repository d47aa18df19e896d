"""Data sets and weights before a run: whether they are there, fetching them, what they hold."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mmbench import plugins as plugins_
from mmbench.api.parts import Dataset
from mmbench.engine import plan as planning
from mmbench.engine.plan import Plan
from mmbench.plugins import Catalog
from mmbench.store import suitefile


def data_ready(plan: Plan, catalog: Catalog) -> dict[str, bool]:
    """{dataset: whether the cache has it}, of the plan's tasks."""
    from mmbench.api.carrier import cache_folder
    from mmbench.engine.data.tables import is_ready

    names = dict.fromkeys(cell.task.dataset for cell in plan.cells)
    return {name: is_ready(catalog.datasets[name], cache_folder()) for name in names}


def prepare(
    target: str, *, plugins: Sequence[str] = (), on_progress: Callable[[str, int, int], None] = lambda *_: None
) -> list[tuple[str, Path, list[str]]]:
    """Fetch and build the data of a suite or of one dataset, and the weights that its encoders load.

    Gives (what, where, what it holds in lines) for each. Raises DataError if something can't be had.
    """
    from mmbench.api.carrier import cache_folder
    from mmbench.api.progress import listen
    from mmbench.engine.data.report import lines
    from mmbench.engine.data.tables import examine, materialise

    catalog = plugins_.load(plugins)
    encoders: Mapping[str, None] = {}
    if target in catalog.datasets:
        datasets = [target]
    else:
        suite = suitefile.read(suitefile.find(target))
        catalog = catalog.with_own(suite.own, suite.encoders)
        plan = planning.make(suite, catalog)
        datasets = list(dict.fromkeys(cell.task.dataset for cell in plan.cells))
        encoders = dict.fromkeys(name for cell in plan.cells for names in cell.encoders.values() for name in names)
    found: list[tuple[str, Path, list[str]]] = []
    with listen(on_progress):
        for name in datasets:
            table = materialise(catalog.datasets[name], cache_folder())
            found.append((f"dataset {name}", table.folder, lines(examine(table))))
        for name in encoders:
            found += [(f"weights of {name}", place, []) for place in catalog.encoders[name].fetch()]
    return found


def data_report(dataset: Dataset) -> list[str] | None:
    """What a data set holds, in lines; None if the cache does not have it, or has it unread by an older mmbench."""
    from mmbench.api.carrier import cache_folder
    from mmbench.engine.data.folders import where
    from mmbench.engine.data.report import lines
    from mmbench.engine.data.tables import Table

    found = Table(dataset, where(dataset, cache_folder())).report
    return lines(found) if found else None
