"""The floors that docstrings of the built-in data sets state, measured again: logistic regression, simple features.

What takes more than a second is slow; `leaf` and `japanese_vowels` stand for it in the default tests.
"""

import re
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from mmbench_data.aeon.basic_motions import BasicMotions
from mmbench_data.aeon.japanese_vowels import JapaneseVowels
from mmbench_data.cards_class import CardsClass
from mmbench_data.rdatasets.bird_strikes import BirdStrikes
from mmbench_data.rdatasets.film_genres import GENRES, FilmGenres
from mmbench_data.rdatasets.flights import Flights
from mmbench_data.rdatasets.leaf import Leaf
from mmbench_data.rdatasets.nafld import Nafld
from mmbench_data.uci_mfeat6 import UciMfeat6
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler

from mmbench.api.carrier import cache_folder
from mmbench.api.columns import targets, values
from mmbench.api.parts import Dataset

Features = dict[str, Any]
"""{"train" or "test": [N, D]}"""


LOADED: dict[str, Any] = {}


def loaded(part: type[Dataset]) -> Any:
    """Loaded once for all the tests of this file."""
    if part.name not in LOADED:
        LOADED[part.name] = part().load(cache_folder())
    return LOADED[part.name]


def some(part: type[Dataset], most: int) -> dict[str, Any]:
    """Train and test, of each at most so many rows, evenly spread."""
    splits = loaded(part)
    steps = {name: max(1, len(splits[name]) // most) for name in ("train", "test")}
    return {name: splits[name].select(range(0, len(splits[name]), step)) for name, step in steps.items()}


def described(series: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    return np.concatenate(
        [series.mean(0), series.std(0), series.min(0), series.max(0), series[-1], [float(len(series))]]
    )


def features(rows: dict[str, Any], modality: str, kind: str) -> Features:
    """Words weighed by TF-IDF; series described by their moments; numbers standardised, gaps filled by medians."""
    columns = {name: values(split, modality, kind) for name, split in rows.items()}
    if kind == "text":
        texts = {name: [text or "" for text in column] for name, column in columns.items()}
        words = TfidfVectorizer(sublinear_tf=True, min_df=2).fit(texts["train"])
        return {name: words.transform(column) for name, column in texts.items()}
    if kind == "series":
        columns = {name: [None if s is None else described(s) for s in column] for name, column in columns.items()}
    width = len(next(row for row in columns["train"] if row is not None))
    gap = np.full(width, np.nan)
    tables = {name: np.stack([gap if row is None else row for row in column]) for name, column in columns.items()}
    median = np.nan_to_num(np.nanmedian(tables["train"], axis=0))
    filled = {name: np.where(np.isnan(table), median, table) for name, table in tables.items()}
    scale = StandardScaler().fit(filled["train"])
    absent = {name: np.isnan(table).all(1, keepdims=True) for name, table in tables.items()}
    return {
        name: scipy.sparse.csr_matrix(np.hstack([np.clip(scale.transform(table), -10, 10), absent[name]]))
        for name, table in filled.items()
    }


def floors(part: type[Dataset], *, strength: float = 1.0, most: int = 10**6) -> dict[str, float]:
    """{modality or "all": score on test}: accuracy, of two classes the area under the ROC curve, of several labels
    their mean average precision."""
    rows = some(part, most)
    truth = {name: targets(split, part.target) for name, split in rows.items()}
    alone = {modality: features(rows, modality, kind) for modality, kind in part.columns.items()}
    everything = {name: scipy.sparse.hstack([one[name] for one in alone.values()]).tocsr() for name in rows}

    def score(given: Features) -> float:
        model = LogisticRegression(C=strength, max_iter=300)
        if truth["train"].ndim == 2:
            several = OneVsRestClassifier(model).fit(given["train"], truth["train"])
            return float(average_precision_score(truth["test"], several.predict_proba(given["test"]), average="macro"))
        chances = model.fit(given["train"], truth["train"]).predict_proba(given["test"])
        if chances.shape[1] == 2:
            return float(roc_auc_score(truth["test"], chances[:, 1]))
        return float((chances.argmax(1) == truth["test"]).mean())

    return {modality: score(one) for modality, one in alone.items()} | {"all": score(everything)}


def stated(part: type[Dataset]) -> dict[str, float]:
    """The floors as the docstring's last paragraph has them."""
    said = (part.__doc__ or "").strip().split("\n\n")[-1]
    found = {name: float(number) for name, number in re.findall(r"(\w+)\s+(\.\d{3})", said)}
    together = {"both": "all"}
    return {together.get(name, name): number for name, number in found.items()}


def rows_of(part: type[Dataset]) -> list[int]:
    return [len(loaded(part)[name]) for name in ("train", "validation", "test")]


@pytest.mark.parametrize("part", [Leaf, JapaneseVowels, BasicMotions])
def test_floors_are_as_stated(part: type[Dataset]) -> None:
    assert floors(part) == pytest.approx(stated(part), abs=0.015)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
@pytest.mark.parametrize(
    ("part", "strength", "most"),
    [
        (BirdStrikes, 1.0, 10**6),
        (CardsClass, 1.0, 10**6),
        (FilmGenres, 1.0, 10**6),
        (Flights, 0.1, 40_000),
        (Nafld, 0.1, 10**6),
        (UciMfeat6, 1.0, 10**6),
    ],
)
def test_floors_are_as_stated_of_the_large(part: type[Dataset], strength: float, most: int) -> None:
    assert floors(part, strength=strength, most=most) == pytest.approx(stated(part), abs=0.015)


def test_leaf_is_seen_in_four_views_without_the_botanist_s_words() -> None:
    assert rows_of(Leaf) == [1144, 383, 380]
    widths = {view: len(values(loaded(Leaf)["test"], view, "tabular")[0]) for view in Leaf.columns}
    assert widths == {"outline": 12, "polar": 9, "size": 19, "surface": 10}
    assert len(loaded(Leaf)["train"].features["species"].names) == 32


def test_japanese_vowels_keep_the_official_test_part() -> None:
    assert rows_of(JapaneseVowels) == [207, 63, 370]
    assert np.bincount(loaded(JapaneseVowels)["test"]["speaker"]).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]


@pytest.mark.slow
def test_bird_strikes_are_split_by_time_and_tell_no_effect() -> None:
    splits = loaded(BirdStrikes)
    assert rows_of(BirdStrikes) == [11575, 3866, 3861]
    days = [splits[name]["date"][:] for name in ("train", "validation", "test")]
    assert max(days[0]) < min(days[1])
    assert max(days[1]) < min(days[2])
    assert sum(sum(splits[name]["effect"]) for name in splits) == 1973


@pytest.mark.slow
def test_nafld_keeps_a_case_and_those_like_it_in_one_split() -> None:
    splits = loaded(Nafld)
    cases = [set(splits[name]["case"]) for name in ("train", "validation", "test")]
    assert not cases[0] & cases[1]
    assert not (cases[0] | cases[1]) & cases[2]
    assert all(step[0] < 0 for series in splits["test"]["labs"][:500] if series for step in series)


@pytest.mark.slow
def test_flights_are_split_by_month_in_the_order_of_time() -> None:
    splits = loaded(Flights)
    assert sum(rows_of(Flights)) == 328_521
    hours = [np.array(splits[name].with_format("numpy")["hour"][:]) for name in ("train", "validation", "test")]
    assert all((np.diff(found) >= 0).all() for found in hours)
    assert hours[0].max() < hours[1].min() < hours[1].max() < hours[2].min()


@pytest.mark.slow
def test_film_genres_are_several_a_film() -> None:
    truth = np.array(loaded(FilmGenres)["train"]["genres"][:])
    assert truth.shape == (27605, len(GENRES))
    assert 1.3 < truth.sum(1).mean() < 1.5
