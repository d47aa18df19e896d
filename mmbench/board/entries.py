"""The records of a task as a board uses them: scores over seeds, resamples of the items, and what is not known.

`rank` makes rows of them, `compare` holds two against each other.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench.api.parts import Metric
from mmbench.api.parts import scores as api
from mmbench.api.record import Record, Refit
from mmbench.api.suite import task_of
from mmbench.board.stats import resampling as stats
from mmbench.board.stats.moderated import moderated
from mmbench.errors import StoreError
from mmbench.store.reading import RunData

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

Row: TypeAlias = dict[str, Any]
FAR = 1e100
"""Beyond it a figure is no figure: sums and squares would not be finite."""
TEST = "test"
"""The name of the plain test predictions among a refit's arrays; others are of damaged inputs."""
TRAIN = "train"
"""What the names of parameters begin with that only a network has: learning rate, batch size."""
GAP = "gap"
"""In place of a refit's role: validation minus test."""


@dataclass
class Entry:
    """A record with what its predictions say."""

    record: Record
    run: RunData
    metrics: Mapping[str, Metric]
    truth: "Array | None"
    rows: stats.Resamples | None
    peers: "Sequence[Entry]" = ()
    """The task's entries, this one among them."""
    _alone: dict[tuple[str, str], stats.Draws | None] = field(default_factory=dict)
    _draws: dict[tuple[str, str], stats.Draws | None] = field(default_factory=dict)
    _unsure: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def direction(self) -> str:
        return self.record.directions.get(self.record.metric, "max")

    @property
    def sign(self) -> int:
        return api.sign(self.direction)

    @property
    def single(self) -> bool:
        return len(self.record.modalities) == 1

    @property
    def kind(self) -> str | None:
        return kind(self.record)

    @property
    def score(self) -> float | None:
        """The tuned metric on test, mean over seeds; None if one of them has no score."""
        return self.mean(self.record.metric)

    @property
    def valid(self) -> float | None:
        """The tuned metric on validation, mean over the refits."""
        return mean([refit.valid for refit in self.refits("tuned") if refit.valid is not None])

    def refits(self, role: str) -> list[Refit]:
        return [refit for refit in self.record.refits if refit.role == role and refit.status == "ok"]

    def mean(self, metric: str, role: str = "tuned") -> float | None:
        return None if self.unscored(metric, role) else mean(self.record.scores(metric, role))

    def unscored(self, metric: str, role: str = "tuned") -> str | None:
        """Why there is no score: a mean over the seeds that happen to have one would be no fair one."""
        refits = self.refits(role)
        found = {refit.seed: why for refit in refits if (why := _unscored(refit, metric))}
        if len(found) == len(refits):  # all for one reason, most often
            return "; ".join(dict.fromkeys(found.values())) or None
        return "; ".join(f"seed {seed} {why}" for seed, why in found.items()) or None

    def unsure(self, metric: str, role: str = "tuned") -> str | None:
        """Why a score has no interval although its predictions and its metric are there."""
        self.draws(metric, role)
        return self._unsure.get((metric, role))

    @cached_property
    def predictions(self) -> "dict[str, list[Array]]":
        """{role: predictions of each seed}; none for a role if any of its seeds has none."""
        found: dict[str, list[Array]] = {}
        for role in ("tuned", "default"):
            refits = self.refits(role)
            if refits and all(refit.predictions for refit in refits):
                loaded = [self.run.predictions(refit) for refit in refits]
                found[role] = [arrays[TEST] for arrays in loaded if TEST in arrays]
        return found

    def draws(self, metric: str, role: str = "tuned") -> stats.Draws | None:
        """The score in resamples; None where predictions, targets, the metric's plugin or enough resamples are missing.

        How far seeds scatter is judged together with the task's other contenders, tuned and default ones.
        """
        if (metric, role) not in self._draws:
            together = ("tuned", "default") if metric == self.record.metric and role != GAP else (role,)
            kin = [(entry, own) for entry in self.peers or (self,) for own in together]
            found = moderated([entry.alone(metric, own) for entry, own in kin])
            for (entry, own), draws in zip(kin, found, strict=True):
                entry._draws[metric, own] = draws
        return self._draws[metric, role]

    def draw(self, metrics: Collection[str]) -> None:
        for metric in metric_names(self.record):
            if metric in metrics:
                self.alone(metric)

    def alone(self, metric: str, role: str = "tuned") -> stats.Draws | None:
        """The same as `draws`, from this contender's seeds only."""
        if (metric, role) not in self._alone and self.record.status == "ok":
            self._alone[metric, role] = self._draw_gap(metric) if role == GAP else self._draw(metric, role)
        return self._alone.get((metric, role))

    def _draw_gap(self, metric: str) -> stats.Draws | None:
        """Validation minus test; None where a seed lacks either, or the number of validation rows is not known."""
        apart, draws = self.gaps(metric), self.draws(metric)
        rows = self.record.dataset.get("rows") or {}
        if draws is None or not rows.get("validation") or len(apart) != draws.seeds:
            return None
        return stats.gap(draws, apart, validation_items=rows["validation"])

    def gaps(self, metric: str) -> list[float]:
        """By how much validation was kinder than test, for each refit that has both; none if a seed has no score."""
        if self.unscored(metric):
            return []
        refits = [r for r in self.refits("tuned") if r.valid is not None and metric in r.metrics]
        return [self.sign * ((r.valid or 0.0) - r.metrics[metric]) for r in refits]

    def _draw(self, metric: str, role: str) -> stats.Draws | None:
        predictions = self.predictions.get(role)
        if not predictions or self.truth is None or self.rows is None or metric not in self.metrics:
            return None
        where = f"{self.run.path}: task {self.record.task!r}, contender {self.record.contender!r}"
        if any(len(prediction) != len(self.truth) for prediction in predictions):
            raise StoreError(f"{where}: there are not as many predictions as targets")
        part, scores = self.metrics[metric], self.record.scores(metric, role)
        if self.unscored(metric, role) or len(scores) != len(predictions) or None in map(figure, scores):
            return None
        try:
            return stats.draw(part, self.truth, predictions, self.rows, scores=scores, training=self._training)
        except stats.UnsureError as error:
            again = [why for p in predictions if isinstance(why := api.scored(part, self.truth, p), str)]
            self._unsure[metric, role] = f"the stored predictions can't be scored ({again[0]})" if again else str(error)
            return None

    @property
    def _training(self) -> float:
        """What other training sets would change, as a share of what other items would: measured for folds only."""
        own = [task for task in self.run.suite.tasks if task.name == task_of(self.record.task)]
        return stats.TRAINING if any(task.folds for task in own) else 0.0

    def summary(self, metric: str, role: str = "tuned", *, interval: bool = True) -> Row | None:
        """{"mean", "low", "high", "n_seeds"}; "reason" if there is no mean, or no interval, for one; "left_out" if some
        resamples were."""
        scores, why = self.record.scores(metric, role), self.unscored(metric, role)
        if why:
            return {"mean": None, "low": None, "high": None, "n_seeds": 0, "reason": why}
        if not scores:
            return None
        draws = self.draws(metric, role) if interval else None
        low, high = draws.interval() if draws else (None, None)
        found: Row = {"mean": mean(scores), "low": low, "high": high, "n_seeds": len(scores)}
        if draws and draws.left_out:
            found["left_out"] = {"resamples": draws.left_out, "of": len(draws.values), "reason": draws.why}
        elif interval and (unsure := self.unsure(metric, role)):
            found["reason"] = unsure
        return found


def entries(runs: Sequence[RunData], metrics: Mapping[str, Metric], task: str) -> list[Entry]:
    """The records of `task`, all with the same test targets, ready to be drawn and compared."""
    truth = next((run.truth(task) for run in runs if task in run.targets), None)
    rows = stats.item_rows(len(truth)) if truth is not None and len(truth) else None
    found = [Entry(record, run, metrics, truth, rows) for run in runs for record in run.of(task)]
    for entry in found:
        entry.peers = found
    return found


def kind(record: Record) -> str | None:
    """What a contender is by what it saw and did, whatever it is called.

    "derived": made of another's trained models. "single": it saw one modality. "baseline": it saw several, but trained
    no network: a fusion of level "estimator", such as a forest on joined features, goes through no epoch. "fusion": it
    saw several and trained a network. None where the record does not say, as that of a skipped one.
    """
    if record.derived:
        return "derived"
    if len(record.modalities) == 1:
        return "single"
    if not record.modalities or not (record.refits or record.default_params):
        return None
    tuned = [refit for refit in record.refits if refit.role == "tuned" and refit.status == "ok"]
    if tuned:
        return "fusion" if any(refit.epochs for refit in tuned) else "baseline"
    return "fusion" if any(name.startswith(f"{TRAIN}.") for name in record.default_params) else "baseline"


def _unscored(refit: Refit, metric: str) -> str | None:
    """Why a refit has no score, if it has none."""
    if metric in refit.unscored:
        return refit.unscored[metric]
    score = refit.metrics.get(metric, 0.0)
    return None if math.isfinite(score) else f"{api.FAILED}: the score is {score}, which is no finite number"


def metric_names(record: Record) -> list[str]:
    """The tuned metric first, then as the refits have them; also those that have no score."""
    tuned = [refit for refit in record.refits if refit.role == "tuned"]
    scored = dict.fromkeys(name for refit in tuned for name in refit.metrics)
    unscored = dict.fromkeys(name for refit in tuned for name in refit.unscored if name in record.directions)
    found = {**scored, **unscored}
    return [name for name in dict.fromkeys([record.metric, *found]) if name in found]


def figure(value: Any) -> Any:
    """The value if it is a number that one can reckon with, else None: a record may come from anyone."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if number and abs(value) < FAR else None


def mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
