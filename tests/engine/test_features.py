"""The feature store: fitted on train, kept by content, shared by processes, blind to missing values."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

import mmbench as mb
from mmbench import plugins
from mmbench.api.suite import CorruptionSpec
from mmbench.engine.data.features import PRESENT, Prepared
from mmbench.engine.data.tables import Table, materialise, viewed
from mmbench.engine.data.view import View
from mmbench.engine.identity import fingerprint
from mmbench.engine.space import Fold
from mmbench.errors import PluginError
from mmbench.plugins import Catalog

TOYS = str(Path(__file__).parents[1] / "toys.py")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return plugins.load([TOYS])


@pytest.fixture
def table(catalog: Catalog, cache: Path) -> Table:
    return materialise(catalog.datasets["toy"], cache)


class Counting(mb.Encoder):
    """Counts how often it is asked."""

    name = "counting"
    kind = "tabular"

    def __init__(self) -> None:
        self.fitted: list[int] = []
        self.seen = 0

    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        self.fitted.append(len(column))
        return {"mean": np.mean(np.stack(column), axis=0), **params}

    def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> dict[str, Any]:
        self.seen += len(column)
        assert all(value is not None for value in column)
        return {"x": np.stack(column) - state["mean"]}


def prepared(table: Table, cache: Path, encoder: Any, **params: Any) -> Prepared:
    return Prepared(table, "right", encoder, params, cache=cache, code=(type(encoder).__name__, {}))


def test_fitted_on_train_once_and_missing_rows_are_zero(table: Table, tmp_path: Path) -> None:
    encoder = Counting()
    first = prepared(table, tmp_path, encoder)
    first.ensure()
    values = {split: table.values(split, "right") for split in ("train", "validation", "test")}
    present = {split: [value is not None for value in column] for split, column in values.items()}
    assert encoder.fitted == [sum(present["train"])]
    assert encoder.seen == sum(map(sum, present.values())) + 1, "one row twice, to learn the shape of a row"
    for split, here in present.items():
        arrays = first.arrays(split)
        assert arrays[PRESENT].tolist() == here
        assert not arrays["x"][~arrays[PRESENT]].any()
        expected = np.stack([v for v in values[split] if v is not None]) - first.state()["mean"]
        np.testing.assert_allclose(arrays["x"][arrays[PRESENT]], expected)
    prepared(table, tmp_path, encoder).ensure()
    assert len(encoder.fitted) == 1, "the second time it is there"


def test_the_key_holds_every_ingredient(table: Table, tmp_path: Path, catalog: Catalog) -> None:
    encoder = catalog.encoders["mlp"]
    folders = {
        prepared(table, tmp_path, encoder).folder,
        prepared(table, tmp_path, encoder, size=3).folder,
        prepared(table, tmp_path, Counting()).folder,
        Prepared(table, "left", encoder, {}, cache=tmp_path, code=("MLP", {})).folder,
        Prepared(table, "right", encoder, {}, cache=tmp_path, code=("another", {})).folder,
        Prepared(table, "right", encoder, {}, cache=tmp_path, code=("MLP", {"torch": "3"})).folder,
        prepared(Table(table.dataset, table.folder, limit=20), tmp_path, encoder).folder,
    }
    assert len(folders) == 7
    assert prepared(table, tmp_path, encoder).folder in folders


def test_a_broken_encoder_leaves_nothing_behind(table: Table, tmp_path: Path) -> None:
    class Infinite(Counting):
        def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> dict[str, Any]:
            return {"x": np.full((len(column), 2), np.inf)}

    with pytest.raises(PluginError, match="not finite"):
        prepared(table, tmp_path, Infinite()).ensure()
    assert not [path for path in (tmp_path / "features").iterdir() if path.is_dir()]


def test_corruption_computes_changed_rows_only(table: Table, tmp_path: Path, catalog: Catalog) -> None:
    encoder = Counting()
    features = prepared(table, tmp_path, encoder)
    features.ensure()
    encoder.seen = 0
    clean = features.arrays("test")
    missing = catalog.corruptions["missing"]
    half = features.damaged(missing, CorruptionSpec("missing", "right"), 0.5, code="a", seed=0)
    assert encoder.seen == 0, "what is gone needs no computing"
    assert 0.3 < half[PRESENT].mean() < 0.7
    np.testing.assert_array_equal(half["x"][half[PRESENT]], clean["x"][half[PRESENT]])
    assert not half["x"][~half[PRESENT]].any()
    none = features.damaged(missing, CorruptionSpec("missing", "right"), 0.0, code="a", seed=0)
    np.testing.assert_array_equal(none["x"], clean["x"])
    noise = catalog.corruptions["noise"]
    loud = features.damaged(noise, CorruptionSpec("noise", "right"), 1.0, code="a", seed=0)
    assert encoder.seen == clean[PRESENT].sum()
    assert not np.allclose(loud["x"], clean["x"])


class Frozen(Counting):
    """Learns from no row."""

    name = "frozen"
    frozen = True

    def fit(self, column: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        assert not len(column), "it is given none"
        return {"mean": np.float32(1.5) * np.ones(3, np.float32)}


def views(dataset: mb.Dataset, cache: Path, *, limit: int | None = None) -> list[Table]:
    """Two folds, a train size of each, and the data set's own splits."""
    mark = fingerprint(dataset)
    seen = [View(dataset.name, mark, limit, Fold(n, 3), size) for n in (1, 2) for size in (None, 20)]
    return [viewed(one, dataset, cache) for one in (*seen, View(dataset.name, mark, limit))]


@pytest.mark.parametrize("limit", [None, 70])
def test_what_learns_from_no_row_is_computed_once_for_all_folds_and_sizes(
    catalog: Catalog, cache: Path, tmp_path: Path, limit: int | None
) -> None:
    encoder, tables = Frozen(), views(catalog.datasets["toy"], cache, limit=limit)
    for table in tables:
        features = prepared(table, tmp_path, encoder)
        features.ensure()
        for split in ("train", "validation", "test"):
            arrays, values = features.arrays(split), list(table.values(split, "right"))
            assert arrays[PRESENT].tolist() == [value is not None for value in values]
            expected = [np.zeros(3) if value is None else value - 1.5 for value in values]
            np.testing.assert_allclose(arrays["x"], np.stack(expected), rtol=1e-6)
    kept = [path for path in (tmp_path / "features").iterdir() if path.is_dir()]
    if limit is None:
        every = sum(int(features.arrays(split)[PRESENT].sum()) for split in ("train", "validation", "test"))
        assert len(kept) == 1
        assert encoder.seen == every + 1, "each row once, one of them twice, to learn the shape of a row"
    else:  # a quick look at few rows does not compute all of them: once a fold, and once for the own splits
        assert len(kept) == 3


def test_what_learns_from_train_is_computed_for_each_view(catalog: Catalog, cache: Path, tmp_path: Path) -> None:
    encoder, tables = Counting(), views(catalog.datasets["toy"], cache)
    for table in tables:
        prepared(table, tmp_path, encoder).ensure()
    assert len({prepared(table, tmp_path, encoder).folder for table in tables}) == len(encoder.fitted) == len(tables)
    rows = [int(table.values("train", "right").present.sum()) for table in tables]
    assert encoder.fitted == rows


def test_damage_to_a_fold_is_that_of_its_own_test_rows(catalog: Catalog, cache: Path, tmp_path: Path) -> None:
    encoder, noise = Frozen(), catalog.corruptions["noise"]
    found = []
    for table in views(catalog.datasets["toy"], cache)[:3]:
        features = prepared(table, tmp_path, encoder)
        features.ensure()
        loud = features.damaged(noise, CorruptionSpec("noise", "right"), 1.0, code="a", seed=0)
        assert len(loud["x"]) == table.facts["rows"]["test"]
        assert not np.allclose(loud["x"], features.arrays("test")["x"])
        found.append(loud["x"])
    np.testing.assert_array_equal(found[0], found[1])  # a train size changes no test row
    assert found[0].shape != found[2].shape or not np.allclose(found[0], found[2])


def test_a_limit_takes_rows_evenly(table: Table) -> None:
    few = Table(table.dataset, table.folder, limit=24)
    assert few.facts["rows"] == {"train": 24, "validation": 24, "test": 24}
    assert len(few.targets("train")) == len(few.values("train", "left")) == 24
    assert set(few.targets("train")) == set(table.targets("train"))


def test_threads_change_no_digit(table: Table, tmp_path: Path) -> None:
    """A sum that is split over threads has other last digits: features are made by one, whoever makes them."""

    class Threads(Counting):
        def transform(self, state: Mapping[str, Any], column: Sequence[Any]) -> dict[str, Any]:
            rows = [[torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())]] * len(column)
            return {"x": np.array(rows, np.float32)}

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        features = prepared(table, tmp_path, Threads())
        features.ensure()
        assert (features.arrays("train")["x"][features.arrays("train")[PRESENT]] == 1).all()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
