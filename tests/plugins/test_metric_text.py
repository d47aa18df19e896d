"""The metrics of texts: against sacrebleu and rouge-score themselves, resampled too, and by hand."""

import time
from typing import Any

import numpy as np
import pytest
from mmbench_metric import text
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from mmbench.api.data import Task, Text
from mmbench.errors import PluginError
from mmbench.testing.metric import MetricContract, noisy, truth_of

METRICS = {metric.name: metric() for metric in text.METRICS}
Array = np.ndarray[Any, Any]


def _contracts() -> dict[str, type]:
    return {f"Test_{part.name}": type(f"Test_{part.name}", (MetricContract,), {"part": part}) for part in text.METRICS}


globals().update(_contracts())


def texts(*given: str) -> Array:
    return np.array(given, dtype=object)


def test_by_hand() -> None:
    truth = texts("A red cat", "two birds", "two birds", "!")
    prediction = texts("a  red cat", "birds two", "a bird", "")
    exact, f1 = METRICS["exact_match"], METRICS["token_f1"]
    assert exact.score(truth, prediction) == 1 / 4
    right = exact.right(truth, prediction)
    assert right is not None
    assert right.tolist() == [1, 0, 0, 0]
    assert f1.score(truth, prediction) == pytest.approx((1 + 1 + 0 + 0) / 4)
    assert f1.score(texts("a b c"), texts("a b x y")) == pytest.approx(2 * 2 / 7)
    assert f1.score(texts(" "), texts("")) == 1


@pytest.mark.parametrize("seed", range(3))
def test_those_of_a_corpus_equal_sacrebleu_and_rouge_score(seed: int) -> None:
    truth = truth_of("text", 30, seed)
    prediction = noisy("text", truth, seed)
    prediction[3], prediction[4] = "", "größe ☕, (see) it's"
    rows = np.stack([np.arange(30), *np.random.default_rng(seed).integers(0, 30, (5, 30))])
    scorer = RougeScorer(["rougeL"])
    for drawn in rows:
        asked, given = truth[drawn].tolist(), prediction[drawn].tolist()
        expected = {
            "bleu": BLEU().corpus_score(given, [asked]).score / 100,
            "chrf": CHRF().corpus_score(given, [asked]).score / 100,
            "rouge_l": np.mean([scorer.score(a, g)["rougeL"].fmeasure for a, g in zip(asked, given, strict=True)]),
        }
        for name, score in expected.items():
            assert METRICS[name].resampled(truth, prediction, drawn[None]) == pytest.approx([score]), name
            assert METRICS[name].score(truth[drawn], prediction[drawn]) == pytest.approx(score), name


def test_bleu_of_short_texts_is_no_zero() -> None:
    truth = texts("red cat", "green house")
    assert METRICS["bleu"].score(truth, truth) == pytest.approx(1)
    assert 0 < METRICS["bleu"].score(truth, texts("red cat", "green cat")) < 1


@pytest.mark.parametrize("name", METRICS)
def test_what_can_not_be_scored_is_said(name: str) -> None:
    truth = texts("a", "b")
    for wrong in (truth[:1], truth[None], np.array([1, 2])):
        with pytest.raises(ValueError, match=r"can't be scored against|must be texts"):
            METRICS[name].score(truth, wrong)
    with pytest.raises(ValueError, match="no rows"):
        METRICS[name].score(truth[:0], truth[:0])


@pytest.mark.parametrize(("name", "needs"), [("bleu", "sacrebleu"), ("chrf", "sacrebleu"), ("rouge_l", "rouge-score")])
def test_without_its_library_a_metric_names_the_extra(name: str, needs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task("t", "d", {"a": "text"}, Text("y"), name)
    assert METRICS[name].supports(task) is None
    monkeypatch.setattr(text, "find_spec", lambda module: None)
    assert METRICS[name].supports(task) == f"needs {needs}: pip install 'mmbench[text]'"
    with pytest.raises(PluginError, match=f"{name} needs {needs}: pip install"):
        METRICS[name].score(texts("a"), texts("a"))


def test_a_board_s_resamples_take_no_time() -> None:
    truth = truth_of("text", 300, 0)
    prediction = noisy("text", truth, 1)
    rows = np.random.default_rng(0).integers(0, 300, (1000, 300))
    start = time.process_time()
    for metric in METRICS.values():
        metric.resampled(truth, prediction, rows)
    assert time.process_time() - start < 3.0
