"""The built-in data sets: the contract over each, floors where the truth is measured, and leaks that must not be."""

from itertools import chain
from typing import Any

import mmbench_data
import numpy as np
import pytest
from mmbench_data.aeon.basic_motions import BasicMotions
from mmbench_data.aeon.japanese_vowels import JapaneseVowels
from mmbench_data.av_digits import AvDigits
from mmbench_data.cards_class import CardsClass
from mmbench_data.diagnostics import Redundant, Synergy, Unique
from mmbench_data.emoji.group import EmojiGroup
from mmbench_data.emoji.match import EmojiMatch
from mmbench_data.emoji.name import EmojiName
from mmbench_data.hanzi.meaning import Hanzi
from mmbench_data.rdatasets.bird_strikes import BirdStrikes
from mmbench_data.rdatasets.film_genres import FilmGenres
from mmbench_data.rdatasets.flights import Flights
from mmbench_data.rdatasets.leaf import Leaf
from mmbench_data.rdatasets.nafld import Nafld
from mmbench_data.solubility import Solubility
from mmbench_data.splits import by_group, stratified
from mmbench_data.uci_mfeat import UciMfeat
from mmbench_data.uci_mfeat6 import UciMfeat6
from mmbench_data.watch_exercise import WatchExercise
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmbench.api.carrier import cache_folder
from mmbench.api.columns import targets, values
from mmbench.api.data import Sound
from mmbench.api.parts import Dataset
from mmbench.testing.dataset import DatasetContract

LOADED: dict[str, Any] = {}


def loaded(part: type[Dataset]) -> Any:
    """Loaded once for all the tests of this file."""
    if part.name not in LOADED:
        LOADED[part.name] = part().load(cache_folder())
    return LOADED[part.name]


class BuiltIn(DatasetContract):
    @pytest.fixture(scope="class")
    @classmethod
    def splits(cls) -> Any:
        return loaded(cls.part)


class TestAvDigits(BuiltIn):
    part = AvDigits


class TestBasicMotions(BuiltIn):
    part = BasicMotions


@pytest.mark.slow
class TestBirdStrikes(BuiltIn):
    part = BirdStrikes


@pytest.mark.slow
class TestCardsClass(BuiltIn):
    part = CardsClass


class TestEmojiGroup(BuiltIn):
    part = EmojiGroup


class TestEmojiMatch(BuiltIn):
    part = EmojiMatch


class TestEmojiName(BuiltIn):
    part = EmojiName


@pytest.mark.slow
class TestFilmGenres(BuiltIn):
    part = FilmGenres


@pytest.mark.slow
class TestFlights(BuiltIn):
    part = Flights


@pytest.mark.slow
class TestHanzi(BuiltIn):
    part = Hanzi


class TestJapaneseVowels(BuiltIn):
    part = JapaneseVowels


class TestLeaf(BuiltIn):
    part = Leaf


@pytest.mark.slow
class TestNafld(BuiltIn):
    part = Nafld


class TestRedundant(BuiltIn):
    part = Redundant


class TestSolubility(BuiltIn):
    part = Solubility


class TestSynergy(BuiltIn):
    part = Synergy


class TestUciMfeat(BuiltIn):
    part = UciMfeat


@pytest.mark.slow
class TestUciMfeat6(BuiltIn):
    part = UciMfeat6


class TestUnique(BuiltIn):
    part = Unique


class TestWatchExercise(BuiltIn):
    part = WatchExercise


def test_every_data_set_is_under_contract() -> None:
    held = {contract.part for contract in BuiltIn.__subclasses__()}
    assert held == set(mmbench_data.mmbench_datasets())


Loaded = dict[str, Any]


def load(part: type[Dataset]) -> tuple[Loaded, dict[str, "np.ndarray[Any, Any]"]]:
    """{split: {modality: values}} of train and test, and their targets."""
    splits = loaded(part)
    names = ("train", "test")
    return (
        {name: {m: values(splits[name], m, kind) for m, kind in part.columns.items()} for name in names},
        {name: targets(splits[name], part.target) for name in names},
    )


def regression(features: dict[str, "np.ndarray[Any, Any]"], truth: dict[str, Any], strength: float = 0.1) -> Any:
    """Log probabilities on test, [N, C], of a logistic regression fitted on train."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))
    return model.fit(features["train"], truth["train"]).predict_log_proba(features["test"])


def accuracy(features: dict[str, "np.ndarray[Any, Any]"], truth: dict[str, Any]) -> float:
    return float((regression(features, truth).argmax(1) == truth["test"]).mean())


def joined(*features: dict[str, "np.ndarray[Any, Any]"]) -> dict[str, "np.ndarray[Any, Any]"]:
    return {name: np.concatenate([f[name] for f in features], axis=1) for name in ("train", "test")}


def spectrum(sound: Sound) -> "np.ndarray[Any, Any]":
    """The log spectrum up to 2 kHz in 32 bands, in each of 4 parts of the sound."""
    frames = np.lib.stride_tricks.sliding_window_view(sound.samples, 256)[::80] * np.hanning(256)
    power = np.square(np.abs(np.fft.rfft(frames)))[:, 1:65].reshape(len(frames), 32, 2).mean(2)
    return np.concatenate([part.mean(0) for part in np.array_split(np.log(power + 1e-2), 4)])


def test_uci_mfeat_views_are_weak_alone_and_strong_together() -> None:
    rows, truth = load(UciMfeat)
    views = {view: {name: np.stack(rows[name][view]) for name in rows} for view in UciMfeat.columns}
    alone = {view: accuracy(features, truth) for view, features in views.items()}
    assert {view: features["train"].shape[1] for view, features in views.items()} == {"fou": 76, "mor": 6, "zer": 47}
    assert max(alone.values()) < 0.87
    assert min(alone.values()) > 0.65
    assert accuracy(joined(*views.values()), truth) > max(alone.values()) + 0.02


def test_watch_exercise_sensors_both_tell_much() -> None:
    rows, truth = load(WatchExercise)

    def moments(name: str, modality: str) -> "np.ndarray[Any, Any]":
        series = np.stack(rows[name][modality])
        assert series.shape[1:] == (200, 3)
        steps = np.diff(series, axis=1)
        return np.concatenate([series.mean(1), series.std(1), series.min(1), series.max(1), steps.std(1)], axis=1)

    sensors = [{name: moments(name, modality) for name in rows} for modality in WatchExercise.columns]
    alone = [accuracy(features, truth) for features in sensors]
    assert min(alone) > 0.6
    # With two people in the test, two sensors need not beat the better one; they beat the weaker one by far.
    assert accuracy(joined(*sensors), truth) > max(min(alone) + 0.05, 0.8)


def test_emoji_text_is_the_name_alone_and_says_much_but_not_all() -> None:
    rows, truth = load(EmojiGroup)
    names = {name: rows[name]["text"] for name in rows}
    assert all(image.size == (128, 128) for image in rows["test"]["image"])
    assert all(text == text.lower() and ".png" not in text and "skin tone" not in text for text in names["train"])
    assert not any("flag" in text and "regional" in text for text in names["train"])
    words = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(C=10, max_iter=300)).fit(names["train"], truth["train"])
    assert 0.6 < model.score(names["test"], truth["test"]) < 0.9


def test_emoji_match_has_the_rows_of_emoji_group() -> None:
    group, match = loaded(EmojiGroup), loaded(EmojiMatch)
    assert match.column_names["train"] == ["image", "text", "group"]  # what folds are stratified by
    names = [text for name in match for text in match[name]["text"]]
    assert len(names) == len(set(names)) == 1615
    for name in group:
        assert list(group[name]["text"]) == list(match[name]["text"])


def test_av_digits_modalities_each_tell_half_and_together_three_quarters() -> None:
    rows, truth = load(AvDigits)
    pixels = {name: np.stack([np.asarray(i)[..., 0].ravel() for i in rows[name]["image"]]) for name in rows}
    sounds = {name: np.stack([spectrum(sound) for sound in rows[name]["audio"]]) for name in rows}
    assert {sound.rate for sound in rows["test"]["audio"]} == {8000}
    assert len({len(sound.samples) for sound in rows["test"]["audio"]}) > 100
    seen, heard = regression(pixels, truth, 0.001), regression(sounds, truth, 0.003)
    picture, sound, both = ((guess.argmax(1) == truth["test"]).mean() for guess in (seen, heard, seen + heard))
    assert 0.45 < picture < 0.65
    assert 0.45 < sound < 0.65
    assert both > max(picture, sound) + 0.1


def test_solubility_name_and_numbers_predict_and_gain_from_each_other() -> None:
    rows, truth = load(Solubility)
    words = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit(rows["train"]["text"])
    text = {name: words.transform(rows[name]["text"]).toarray() for name in rows}
    scale = StandardScaler().fit(np.stack(rows["train"]["descriptors"]))
    numbers = {name: 0.3 * scale.transform(np.stack(rows[name]["descriptors"])) for name in rows}

    def r2(features: dict[str, "np.ndarray[Any, Any]"]) -> float:
        return float(Ridge(1.0).fit(features["train"], truth["train"]).score(features["test"], truth["test"]))

    assert r2(text) > 0.45
    assert r2(numbers) > 0.65
    assert r2(joined(text, numbers)) > max(r2(text), r2(numbers)) + 0.02


@pytest.mark.parametrize("part", [Redundant, Synergy, Unique])
def test_diagnostics_reach_their_ceilings_and_no_more(part: Any) -> None:
    splits = loaded(part)
    signs = {m: np.stack(values(splits["test"], m, "tabular"))[:, 0] > 0 for m in part.columns}
    truth = targets(splits["test"], part.target).astype(bool)
    best = {"synergy": signs["a"] ^ signs["b"]}.get(part.name, signs["a"])
    assert (best == truth).mean() == pytest.approx(part.ceiling)
    for modality, ceiling in part.alone.items():
        agreement = (signs[modality] == truth).mean()
        assert max(agreement, 1 - agreement) == pytest.approx(ceiling, abs=0.03 if ceiling == 0.5 else 1e-9)


def test_stratified_keeps_the_shares_of_each_class() -> None:
    labels = ["a"] * 50 + ["b"] * 10
    rows = stratified(labels)
    assert sorted(chain(*rows.values())) == list(range(60))
    assert [sum(labels[i] == "b" for i in rows[name]) for name in ("train", "validation", "test")] == [6, 2, 2]
    assert rows == stratified(labels)


def test_by_group_never_cuts_a_group() -> None:
    groups = [n % 10 for n in range(100)]
    rows = by_group(groups)
    found = [{groups[i] for i in part} for part in rows.values()]
    assert [len(part) for part in found] == [6, 2, 2]
    assert set.union(*found) == set(range(10))
    assert sorted(chain(*rows.values())) == list(range(100))
    in_order = by_group(groups, order=range(9, -1, -1))
    assert [sorted({groups[i] for i in part}) for part in in_order.values()] == [[4, 5, 6, 7, 8, 9], [2, 3], [0, 1]]
