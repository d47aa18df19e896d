"""Metrics of a text: truth [N] and prediction [N] are arrays of str.

BLEU and chrF are scores of a corpus, made of counts that are summed over its items: these are counted once an item, and
each resample adds up its own. What sacrebleu and rouge-score compute is theirs; both come with `mmbench[text]`.
"""

import re
from collections import Counter
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

import mmbench as mb

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

ORDERS = 4
"""BLEU counts n-grams of words up to this n."""
CHARACTERS, BETA = 6, 2
"""chrF counts n-grams of characters up to this n, and weighs recall BETA times as much as precision."""
_WORD = re.compile(r"\w+|[^\w\s]")


def _checked(truth: "Array", prediction: "Array") -> tuple[list[str], list[str]]:
    import numpy as np

    truth, prediction = np.asarray(truth, dtype=object), np.asarray(prediction, dtype=object)
    if truth.ndim != 1 or truth.shape != prediction.shape:
        raise ValueError(f"a prediction of shape {prediction.shape} can't be scored against {truth.shape}")
    if not len(truth):
        raise ValueError("there are no rows to score")
    if not all(isinstance(text, str) for array in (truth, prediction) for text in array):
        raise ValueError("truth and prediction must be texts")
    return truth.tolist(), prediction.tolist()


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


class _OfItems(mb.Metric):
    """The mean of a score of each item."""

    targets = ("text",)

    def items(self, truth: str, prediction: str) -> float:
        raise NotImplementedError

    def each(self, truth: "Array", prediction: "Array") -> "Array":
        import numpy as np

        return np.array([self.items(*pair) for pair in zip(*_checked(truth, prediction), strict=True)], np.float64)

    def score(self, truth: "Array", prediction: "Array") -> float:
        return float(self.each(truth, prediction).mean())

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        from mmbench_metric.resample import means

        return means(self.each(truth, prediction), rows)


class ExactMatch(_OfItems):
    """Exact match: the share of texts whose words and punctuation marks are those of the truth, in lower case."""

    name = "exact_match"
    share = True
    source = "arXiv:1606.05250"

    def items(self, truth: str, prediction: str) -> float:
        return float(_words(truth) == _words(prediction))

    def right(self, truth: "Array", prediction: "Array") -> "Array":
        return self.each(truth, prediction)


class TokenF1(_OfItems):
    """Token F1: the harmonic mean of precision and recall of the words, in lower case, whatever their order.

    Both texts without a word: 1; one of them: 0.
    """

    name = "token_f1"
    source = "arXiv:1606.05250"

    def items(self, truth: str, prediction: str) -> float:
        asked, given = Counter(_words(truth)), Counter(_words(prediction))
        total = asked.total() + given.total()
        return 2 * (asked & given).total() / total if total else 1.0


class RougeL(_OfItems):
    """ROUGE-L: the F1 of the longest common subsequence of words, by rouge-score, without stemming."""

    name = "rouge_l"
    source = "https://aclanthology.org/W04-1013"

    def supports(self, task: mb.Task) -> str | None:
        return _missing("rouge_score", "rouge-score")

    def each(self, truth: "Array", prediction: "Array") -> "Array":
        import numpy as np

        _needs(self, "rouge_score", "rouge-score")
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer(["rougeL"])
        pairs = zip(*_checked(truth, prediction), strict=True)
        return np.array([scorer.score(*pair)["rougeL"].fmeasure for pair in pairs], np.float64)


class _OfCorpus(mb.Metric):
    """A score of the counts that all items add up to."""

    targets = ("text",)

    def supports(self, task: mb.Task) -> str | None:
        return _missing("sacrebleu", "sacrebleu")

    def counts(self, truth: list[str], prediction: list[str]) -> "Array":
        """Of each item, [N, C]."""
        raise NotImplementedError

    def of_counts(self, counts: "Array") -> "Array":
        """The score of each of R sums, [R, C]."""
        raise NotImplementedError

    def score(self, truth: "Array", prediction: "Array") -> float:
        return float(self.of_counts(self._counted(truth, prediction).sum(0, keepdims=True))[0])

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        from mmbench_metric.resample import weights

        return self.of_counts(weights(rows, len(truth)) @ self._counted(truth, prediction))

    def _counted(self, truth: "Array", prediction: "Array") -> "Array":
        texts = _checked(truth, prediction)
        _needs(self, "sacrebleu", "sacrebleu")
        return self.counts(*texts)


class Bleu(_OfCorpus):
    """BLEU: the geometric mean of the precisions of 1- to 4-grams, times a penalty for brevity, by sacrebleu (0 to 1).

    Tokenised by "13a", smoothed by "exp", as sacrebleu does by default; where no prediction has four words, by the
    n-grams that there are ("effective order"), since the plain score of a perfect answer would be 0.
    """

    name = "bleu"
    source = "arXiv:1804.08771"

    def counts(self, truth: list[str], prediction: list[str]) -> "Array":
        import numpy as np
        from sacrebleu.metrics import BLEU

        bleu, rows = BLEU(), []
        for asked, given in zip(truth, prediction, strict=True):
            found = bleu.corpus_score([given], [[asked]])
            rows.append([*found.counts, *found.totals, found.sys_len, found.ref_len])
        return np.array(rows, np.float64)

    def of_counts(self, counts: "Array") -> "Array":
        import numpy as np
        from sacrebleu.metrics import BLEU

        def score(row: list[int]) -> float:
            sums = row[:ORDERS], row[ORDERS:-2], row[-2], row[-1]
            return float(BLEU.compute_bleu(*sums, smooth_method="exp", effective_order=True).score) / 100

        return np.array([score(row) for row in np.rint(counts).astype(int).tolist()])


class ChrF(_OfCorpus):
    """chrF: the F2 of n-grams of 1 to 6 characters, spaces left out, counted as sacrebleu does (0 to 1)."""

    name = "chrf"
    source = "https://aclanthology.org/W15-3049"

    def counts(self, truth: list[str], prediction: list[str]) -> "Array":
        import numpy as np
        from sacrebleu.metrics.helpers import extract_all_char_ngrams

        rows = []
        for texts in zip(truth, prediction, strict=True):
            asked, given = (extract_all_char_ngrams(text, CHARACTERS) for text in texts)
            there = [g if a else Counter[str]() for a, g in zip(asked, given, strict=True)]
            both = [a & g for a, g in zip(asked, given, strict=True)]
            rows.append([count.total() for counts in (there, asked, both) for count in counts])
        return np.array(rows, np.float64)

    def of_counts(self, counts: "Array") -> "Array":
        import numpy as np

        from mmbench_metric.resample import ratio

        given, asked, both = np.split(counts, 3, axis=1)
        there = (given > 0) & (asked > 0)
        orders = there.sum(1)
        precision, recall = (ratio((ratio(both, side) * there).sum(1), orders) for side in (given, asked))
        return ratio((1 + BETA**2) * precision * recall, BETA**2 * precision + recall)


def _missing(module: str, distribution: str) -> str | None:
    return None if find_spec(module) else f"needs {distribution}: pip install 'mmbench[text]'"


def _needs(metric: mb.Metric, module: str, distribution: str) -> None:
    from mmbench.errors import PluginError

    missing = _missing(module, distribution)
    if missing:
        raise PluginError(f"{metric.name} {missing}")


METRICS: list[type[mb.Metric]] = [ExactMatch, TokenF1, Bleu, RougeL, ChrF]
