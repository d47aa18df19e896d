"""Folds of the toy: each row is test once, classes are spread, groups stay whole, and truth is stored by view."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from mmbench.api.data import SPLITS
from mmbench.engine.data import tables, view
from mmbench.engine.data.tables import Table
from mmbench.engine.data.view import View
from mmbench.engine.space import Fold
from mmbench.errors import DataError
from tests.toys import Toy

K = 5


class Grouped(Toy):
    """The same rows, of a dozen people."""

    name = "grouped"
    groups = "person"

    def load(self, cache: Path) -> Any:
        return super().load(cache).map(lambda row, place: {"person": f"p{place * place % 60}"}, with_indices=True)


class Alone(Grouped):
    """One person in all."""

    name = "alone"

    def load(self, cache: Path) -> Any:
        return Toy.load(self, cache).map(lambda row: {"person": "p"})


def folded(dataset: Toy, cache: Path, limit: int | None = None) -> list[Table]:
    whole = tables.materialise(dataset, cache)
    tables.cut(whole, K)
    return [replace(whole, limit=limit, fold=Fold(number, K)) for number in range(1, K + 1)]


def marks(table: Table, split: str) -> list[bytes]:
    return [value.tobytes() for value in table.values(split, "left")]


def test_every_row_is_test_once_and_on_one_side_only(tmp_path: Path) -> None:
    whole, folds = tables.materialise(Toy(), tmp_path), folded(Toy(), tmp_path)
    every = sorted(row for split in SPLITS for row in marks(whole, split))
    assert sorted(row for table in folds for row in marks(table, "test")) == every
    assert sorted(row for table in folds for row in marks(table, "validation")) == every
    for table, after in zip(folds, [*folds[1:], folds[0]], strict=True):
        sides = [marks(table, split) for split in SPLITS]
        assert sorted(row for side in sides for row in side) == every
        assert sides[1] == marks(after, "test")
        assert table.facts["rows"] == {split: len(side) for split, side in zip(SPLITS, sides, strict=True)}


def test_targets_are_those_of_the_rows(tmp_path: Path) -> None:
    whole = tables.materialise(Toy(), tmp_path)
    of = {m: t for split in SPLITS for m, t in zip(marks(whole, split), whole.targets(split), strict=True)}
    for table in (*folded(Toy(), tmp_path), *folded(Toy(), tmp_path, limit=20)):
        for split in SPLITS:
            assert [of[mark] for mark in marks(table, split)] == table.targets(split).tolist()
            assert table.limit is None or len(table.targets(split)) == 20


def test_classes_are_spread_evenly(tmp_path: Path) -> None:
    counts = np.array([np.bincount(table.targets("test"), minlength=4) for table in folded(Toy(), tmp_path)])
    assert (np.ptp(counts, axis=0) <= 1).all(), counts
    assert np.ptp(counts.sum(1)) <= 1


def test_groups_stay_together(tmp_path: Path) -> None:
    folds = folded(Grouped(), tmp_path)
    groups = load_file(tables.groups_file(folds[0].folder))["group"]
    assert len(np.unique(groups)) > K
    for table in folds:
        assert table.fold is not None
        parts = np.load(tables.fold_folder(table.folder, table.fold) / tables.PARTS)
        places = view.places(parts, table.fold)
        sides = [set(groups[rows].tolist()) for rows in places.values()]
        assert sum(map(len, sides)) == len(set.union(*sides)), "a group is on two sides"
    sizes = [table.facts["rows"]["test"] for table in folds]
    assert max(sizes) < 1.5 * min(sizes), sizes
    assert "person" not in (folds[0].folder / "rows" / "train" / "dataset_info.json").read_text()


def test_too_few_groups_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 1 groups, which can't be cut into 5 folds"):
        folded(Alone(), tmp_path)


def test_a_column_of_groups_that_is_not_there_is_said(tmp_path: Path) -> None:
    class Lacking(Toy):
        name = "lacking"
        groups = "person"

    with pytest.raises(DataError, match="column of groups 'person' is missing"):
        tables.materialise(Lacking(), tmp_path)


def test_a_worker_may_read_its_own_train_and_validation_targets_only(tmp_path: Path) -> None:
    table = folded(Toy(), tmp_path)[1]
    mark = table.folder.name.removeprefix("toy-")
    own, *rest = tables.shown(View("toy", mark, None, Fold(2, K)), tmp_path)
    assert {path.name for path in own.iterdir()} == {
        tables.PARTS,
        "targets-train.safetensors",
        "targets-validation.safetensors",
    }
    assert own.is_relative_to(tables.truth_folder(tmp_path)), own
    assert {"rows", "facts.json"} <= {path.name for path in rest}
    assert not [path for path in rest if "targets" in path.name], "those hold the fold's truth of test"
    assert tables.shown(View("toy", mark), tmp_path) == [table.folder]


def test_the_parts_depend_on_nothing_but_the_rows() -> None:
    classes = np.arange(100) % 3
    once = view.deal("a", K, classes, None)
    assert (once == view.deal("a", K, classes, None)).all()
    assert (once != view.deal("b", K, classes, None)).any()
