"""Folds of the toy: each row is test once, classes are spread, groups stay whole, and truth is stored by view."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from mmbench.api.data import SPLITS
from mmbench.engine.data import folders, tables, view
from mmbench.engine.data.tables import Table
from mmbench.engine.data.view import View
from mmbench.engine.identity import fingerprint
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
    tables.cut(whole, Fold(1, K))
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
    groups = load_file(folders.groups_file(folds[0].folder))["group"]
    assert len(np.unique(groups)) > K
    for table in folds:
        assert table.fold is not None
        parts = np.load(folders.fold_folder(table.folder, table.fold) / folders.PARTS)
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


class Dated(Toy):
    """The same rows, a dozen or so a day, each of one of many people."""

    name = "dated"
    time = "day"
    rows = {"train": 240, "validation": 100, "test": 120}

    def load(self, cache: Path) -> Any:
        return (
            super()
            .load(cache)
            .map(
                lambda row, place: {
                    "day": f"2024-01-{place * 7 % 31 + 1:02}",
                    "person": place * 7 % 31 // 2 * 3 + place % 3,
                },
                with_indices=True,
            )
        )


class Returning(Dated):
    """Some people come on more than one day."""

    name = "returning"
    groups = "person"


def by_time(dataset: Dated, cache: Path, folds: int = K) -> list[Table]:
    whole = tables.materialise(dataset, cache)
    tables.cut(whole, Fold(1, folds, "time"))
    return [replace(whole, fold=Fold(number, folds, "time")) for number in range(1, folds + 1)]


@pytest.mark.parametrize("dataset", [Dated(), Returning()])
def test_by_time_each_fold_is_later_than_all_that_it_learned_from(dataset: Dated, tmp_path: Path) -> None:
    before: set[bytes] = set()
    seen: set[bytes] = set()
    for table in by_time(dataset, tmp_path):
        assert table.fold is not None
        said = tables.declared(dataset, table.folder)
        parts = np.load(folders.fold_folder(table.folder, table.fold) / folders.PARTS)
        places = view.places(parts, table.fold)
        days = {split: said["time"][rows] for split, rows in places.items()}
        assert days["train"].max() < days["validation"].min(), table.fold
        assert days["validation"].max() < days["test"].min(), table.fold
        if dataset.groups:
            sides = [set(said["group"][rows].tolist()) for rows in places.values()]
            assert sum(map(len, sides)) == len(set.union(*sides)), "a person is on two sides"
        else:
            assert before <= set(marks(table, "train")), "the window grows"
            before = set(marks(table, "train"))
        tested = set(marks(table, "test"))
        assert not tested & seen, "no row is tested twice"
        seen |= tested


def test_too_few_times_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 31 different times, which can't be cut into 30 folds by time: 32 are"):
        by_time(Dated(), tmp_path, 30)


def test_rows_of_one_time_are_never_parted() -> None:
    times = np.array([0] * 90 + list(range(1, 11)))
    with pytest.raises(DataError, match="too many rows are of one time"):
        view.deal_by_time("a", Fold(1, 3, "time"), times, None)
    parts = view.deal_by_time("a", Fold(1, 3, "time"), np.arange(50) // 3, None)
    assert all(len(set(parts[start : start + 3].tolist())) == 1 for start in range(0, 48, 3))


def test_a_class_that_a_fold_would_not_learn_is_said(tmp_path: Path) -> None:
    class Rare(Toy):
        name = "rare"

        def load(self, cache: Path) -> Any:
            return (
                super()
                .load(cache)
                .map(lambda row, place: {"label": 3 if place == 239 else place % 3}, with_indices=True)
            )

    with pytest.raises(
        DataError, match=r"dataset 'rare': fold \d of 5 would learn from no row of class 'd'; take fewer"
    ):
        tables.cut(tables.materialise(Rare(), tmp_path), Fold(1, K))


class Stratified(Toy):
    """The same rows, half of them from one of ten places."""

    name = "stratified"
    stratify = "place"

    def load(self, cache: Path) -> Any:
        return super().load(cache).map(lambda row, n: {"place": f"p{max(0, n % 20 - 10)}"}, with_indices=True)


def test_what_is_declared_is_spread_evenly(tmp_path: Path) -> None:
    folds = folded(Stratified(), tmp_path)
    said = tables.declared(Stratified(), folds[0].folder)["strata"]
    parts = np.load(folders.fold_folder(folds[0].folder, Fold(1, K)) / folders.PARTS)
    counts = np.array([np.bincount(said[parts == part], minlength=10) for part in range(K)])
    assert (np.ptp(counts, axis=0) <= 1).all(), counts
    few = replace(folds[1], size=40)
    strata = np.load(folders.strata_file(few.folder, few.fold))
    assert strata.tolist() == said[view.places(parts, Fold(2, K))["train"]].tolist()
    assert 17 <= (strata[few.rows("train", len(strata))] == 0).sum() <= 23


@pytest.mark.parametrize("fold", [None, Fold(2, K)])
@pytest.mark.parametrize("limit", [None, 90])
def test_train_sizes_are_nested_and_stratified(fold: Fold | None, limit: int | None, tmp_path: Path) -> None:
    whole = tables.viewed(View("toy", fingerprint(Toy()), limit, fold), Toy(), tmp_path)
    shares = np.bincount(whole.targets("train")) / len(whole.targets("train"))
    before: set[bytes] = set()
    for size in (10, 30, 90):
        table = replace(whole, size=size)
        assert table.facts["rows"] == {**whole.facts["rows"], "train": size}
        assert before < set(marks(table, "train")) <= set(marks(whole, "train"))
        counts = np.bincount(table.targets("train"), minlength=4)
        assert (np.abs(counts - size * shares) <= 1.5).all(), (size, counts, shares)
        for split in ("validation", "test"):
            assert marks(table, split) == marks(whole, split)
            assert (table.targets(split) == whole.targets(split)).all()
        before = set(marks(table, "train"))


def test_a_train_size_that_can_not_be_is_said(tmp_path: Path) -> None:
    whole = tables.materialise(Toy(), tmp_path)
    with pytest.raises(DataError, match="dataset 'toy': train_sizes asks for 241 rows, of 240 that train has"):
        replace(whole, size=241).targets("train")
    with pytest.raises(
        DataError, match=r"dataset 'toy': of 3 train rows none would be of class '[abcd]': ask for more"
    ):
        replace(whole, size=3).values("train", "left")


def test_a_column_of_time_must_have_an_order(tmp_path: Path) -> None:
    class Mixed(Dated):
        name = "mixed"

        def load(self, cache: Path) -> Any:
            return Toy.load(self, cache).map(lambda row, n: {"day": None if n == 5 else 1.0}, with_indices=True)

    with pytest.raises(DataError, match="split 'train': row 5 has no value in the column of time 'day'"):
        tables.materialise(Mixed(), tmp_path)


def test_a_worker_may_read_its_own_train_and_validation_targets_only(tmp_path: Path) -> None:
    table = folded(Toy(), tmp_path)[1]
    mark = table.folder.name.removeprefix("toy-")
    own, *rest = folders.shown(View("toy", mark, None, Fold(2, K)), tmp_path)
    assert {path.name for path in own.iterdir()} == {
        folders.PARTS,
        "targets-train.safetensors",
        "targets-validation.safetensors",
    }
    assert own.is_relative_to(folders.truth_folder(tmp_path)), own
    assert {"rows", "facts.json"} <= {path.name for path in rest}
    assert not [path for path in rest if "targets" in path.name], "those hold the fold's truth of test"
    assert folders.shown(View("toy", mark), tmp_path) == [table.folder]


def test_the_parts_depend_on_nothing_but_the_rows() -> None:
    classes = np.arange(100) % 3
    once = view.deal("a", K, classes, None)
    assert (once == view.deal("a", K, classes, None)).all()
    assert (once != view.deal("b", K, classes, None)).any()
