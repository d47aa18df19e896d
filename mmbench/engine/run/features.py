"""Says what the workers of a run will load: where its features are kept, which parts a job uses, and which libraries
these import."""

from collections.abc import Sequence
from pathlib import Path

from mmbench.api.parts import Part
from mmbench.api.space import defaults
from mmbench.engine.data.features import Prepared
from mmbench.engine.data.tables import planned
from mmbench.engine.data.view import View
from mmbench.engine.jobs.job import Job, LoadData
from mmbench.engine.space import Cell, encoder_code
from mmbench.plugins import Catalog


def features(cell: Cell, modality: str, encoder: str, catalog: Catalog, cache: Path) -> Path:
    """Where the features of an encoder's default preparation are kept."""
    dataset, part = catalog.datasets[cell.task.dataset], catalog.encoders[encoder]
    table = planned(View.of(cell), dataset, cache)
    return Prepared(
        table, modality, part, defaults(part.space, "prepare"), cache, encoder_code(cell, encoder)
    ).stored.folder


def parts_of(job: Job, catalog: Catalog) -> list[tuple[str, str]]:
    """Every part that the job may use: its role and its name."""
    if isinstance(job, LoadData):
        return [("dataset", job.dataset), ("head", catalog.datasets[job.dataset].target.type)]
    return [(role, name) for role, _, name in (part.partition(".") for part in job.cell.parts)]


def libraries(cells: Sequence[Cell], catalog: Catalog, cache: Path) -> list[str]:
    """What the workers of these cells will import, each once for all of them: of libraries that only parts of others
    name, none, as what they do when they are imported would reach workers that don't need them."""
    parts: list[Part] = [catalog.metrics[cell.task.metric] for cell in cells]
    slots = dict.fromkeys((slot.role, name) for cell in cells for slot in cell.slots for name in slot.parts)
    parts += [catalog.shelves()[f"{role}s"][name] for role, name in slots if role != "encoder"]
    prepared = {
        (View.of(cell), modality, name): cell
        for cell in cells
        for modality, names in cell.encoders.items()
        for name in names
    }
    parts += [catalog.encoders[name] for _, _, name in prepared]
    found = dict.fromkeys(name for part in parts for name in part.libraries)
    if not all(features(cell, m, name, catalog, cache).exists() for (_, m, name), cell in prepared.items()):
        found["datasets"] = None  # raw rows are read with it
    shelves = catalog.shelves().values()
    own = [part for shelf in shelves for name, part in shelf.items() if shelf.origins[name].is_own]
    known = {name.partition(".")[0] for part in own for name in part.libraries} | {"datasets"}
    return [name for name in found if name.partition(".")[0] in known]
