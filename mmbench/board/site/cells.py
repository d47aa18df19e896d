"""What the page of a cell shows: one contender on one task, with its search, its refits, its costs, its provenance."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from mmbench.api.parts.scores import sign
from mmbench.api.record import Record, Refit, Trial
from mmbench.board import figures
from mmbench.board.site import drawing
from mmbench.board.site.boards import Row, View, interval, number, score_scale, tuned, whisker
from mmbench.board.site.drawing import Tried, finite
from mmbench.board.site.names import address

Facts: TypeAlias = list[tuple[str, str]]
LONGEST = 300
MOST_TRIALS = 400
MOST_CURVES = 60
COSTS = (
    ("parameters", "trained parameters", figures.count),
    ("flops", "FLOPs a row", figures.count),
    ("latency_ms_p50", "latency of one row, median, ms", figures.quantity),
    ("latency_ms_p90", "latency, 90th percentile, ms", figures.quantity),
    ("latency_ms_p99", "latency, 99th percentile, ms", figures.quantity),
    ("throughput", "rows a second, inference in batches", figures.count),
    ("train_throughput", "rows a second, training", figures.count),
    ("peak_memory_bytes", "peak memory, MiB", figures.mebibytes),
    ("device_memory_bytes", "peak memory on the device, MiB", figures.mebibytes),
)


def cell_view(
    row: Row, record: Record, trials: Sequence[Trial], *, task_rows: Sequence[Row], sources: Mapping[str, str]
) -> View:
    """A cell for the template. `sources` says where a part was published: {"fusion.gated": DOI, id or address}."""
    summary, higher = tuned(row), sign(row["direction"]) > 0
    scale = score_scale([other for other in task_rows if other["rank"] is not None])
    return {
        "row": row,
        "better": figures.better(row["direction"]),
        "said": "no score" if row["status"] == "ok" else row["status"],
        "score": figures.score(summary["mean"]) if summary else None,
        "interval": interval(summary),
        "score_plot": whisker(summary, scale),
        "score_axis": drawing.axis(scale) if scale and summary else "",
        "seeds": summary["n_seeds"] if summary else None,
        "gain": figures.with_interval(row["fusion_gain"], sign=True) if row["fusion_gain"] else None,
        "against": (row["fusion_gain"] or {}).get("against"),
        "chosen": figures.chosen(row) if row["reference"] else None,
        "default": figures.with_interval(row["default"]) if row["default"] else None,
        "valid": figures.score(row["valid"]),
        "contenders": sum(other["rank"] is not None for other in task_rows),
        "params": _params(record),
        "metrics": [
            (name, figures.score(s["mean"]), interval(s) or s.get("reason", ""))
            for name, s in row["metrics"].items()
            if s
        ],
        "refits": [_refit(refit, record.metric) for refit in record.refits],
        "search_plot": _search_plot(trials, record.metric, higher=higher),
        "learning_plot": _learning_plot(trials, record.metric, higher=higher),
        "tried": len(trials),
        "trials": [_trial(trial, higher=higher) for trial in _foremost(trials, higher=higher)],
        "curves": _curves(row),
        "costs": _costs(row),
        "apart": (row.get("cost_apart") or {}).get("conditions"),
        "parts": _parts(record, sources),
        "provenance": _provenance(record),
    }


def text(value: object) -> str:
    """A value of a record as text, cut where it would fill the page."""
    shown = f"{value:g}" if isinstance(value, float) else "–" if value is None else str(value)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"


def _params(record: Record) -> list[View]:
    names = sorted({*record.params, *record.default_params})
    return [
        {
            "name": name,
            "chosen": text(record.params.get(name)),
            "default": text(record.default_params.get(name)),
            "changed": record.params.get(name) != record.default_params.get(name),
        }
        for name in names
    ]


def _refit(refit: Refit, metric: str) -> View:
    return {
        "role": refit.role,
        "seed": refit.seed,
        "valid": figures.score(refit.valid),
        "test": figures.score(refit.metrics.get(metric)),
        "epochs": refit.epochs,
        "seconds": figures.duration(number(refit.seconds)),
        "said": _ended(refit, metric),
        "hash": text((refit.predictions or {}).get("sha256", "–")),
    }


def _ended(refit: Refit, metric: str) -> str:
    if refit.status != "ok":
        return f"{refit.status}: {text(refit.reason)}"
    return f"ok, but {metric} {text(refit.unscored[metric])}" if metric in refit.unscored else refit.status


def _foremost(trials: Sequence[Trial], *, higher: bool) -> list[Trial]:
    """All of them in order, or of very many the best, which the page says."""
    if len(trials) <= MOST_TRIALS:
        return list(trials)
    kept = sorted(trials, key=lambda t: _best_first(t, higher=higher))
    return sorted(kept[:MOST_TRIALS], key=lambda t: t.number)


def reached(trial: Trial, *, higher: bool) -> float | None:
    """Its validation score; of a pruned trial, which has none, the best of the epochs that it trained."""
    if trial.score is not None or trial.status != "pruned":
        return trial.score
    known = [value for value in trial.curve if finite(value)]
    return (max if higher else min)(known, default=None)


def _best_first(trial: Trial, *, higher: bool) -> tuple[bool, float, int]:
    score = reached(trial, higher=higher)
    known = score is not None and finite(score)
    return not known, (-score if higher else score) if known and score is not None else 0.0, trial.number


def _trial(trial: Trial, *, higher: bool) -> View:
    return {
        "number": trial.number,
        "score": figures.score(reached(trial, higher=higher)),
        "epochs": trial.epochs,
        "seconds": figures.duration(number(trial.seconds)),
        "said": trial.status if not trial.reason else f"{trial.status}: {text(trial.reason)}",
    }


def _search_plot(trials: Sequence[Trial], metric: str, *, higher: bool) -> object:
    tried = [
        Tried(t.number, score if t.status in ("ok", "pruned") and finite(score) else None, t.status == "pruned")
        for t in trials
        for score in [reached(t, higher=higher)]
    ]
    if sum(trial.score is not None for trial in tried) < 2:
        return None
    return drawing.trials(tried, metric=metric, higher=higher)


def _learning_plot(trials: Sequence[Trial], metric: str, *, higher: bool) -> object:
    """The validation score after each epoch, a line a trial; the best one that was not pruned stands out."""
    known = [t for t in trials if len(t.curve) > 1 and finite(*t.curve) and finite(reached(t, higher=higher))]
    if not known:
        return None
    known.sort(key=lambda t: (t.status == "pruned", *_best_first(t, higher=higher)))
    best, rest = known[:1], sorted(known[1:], key=lambda t: _best_first(t, higher=higher))
    curves = [
        (_called(t, higher=higher), [(float(e), v) for e, v in enumerate(t.curve, start=1)])
        for t in [*best, *rest][:MOST_CURVES]
    ]
    return drawing.lines(curves, xlabel="epoch", ylabel=f"{metric} on validation")


def _called(trial: Trial, *, higher: bool) -> str:
    pruned = ", pruned" if trial.status == "pruned" else ""
    return f"trial {trial.number}: {figures.score(reached(trial, higher=higher))}{pruned}"


def _curves(row: Row) -> list[View]:
    views = []
    for name, curve in row["curves"].items():
        points = [(point[0], point[1]) for point in curve["points"] if finite(*point)]
        if len(points) > 1:
            drawn = drawing.lines([(name, points)], xlabel="severity", ylabel=row["metric"])
            views.append({"name": name, "svg": drawn, "area": figures.score(curve["area"])})
    return views


def _costs(row: Row) -> Facts:
    cost = row.get("cost_apart") or row["cost"]
    found = [(label, show(number(cost.get(key)))) for key, label, show in COSTS]
    prepare = cost.get("prepare_ms")
    if isinstance(prepare, Mapping):
        found += [(f"preparing one row's {m}, ms", figures.quantity(number(v))) for m, v in prepare.items()]
    under = [
        ("batch_size", "rows a batch"),
        ("device", "device"),
        ("threads", "threads"),
        ("load_average", "load then"),
    ]
    return [*found, *((label, text(cost.get(key))) for key, label in under)]


def _parts(record: Record, sources: Mapping[str, str]) -> list[View]:
    return [
        {"name": name, "hash": text(digest), "source": sources.get(name, ""), "href": address(sources.get(name, ""))}
        for name, digest in sorted(record.parts.items())
    ]


def _provenance(record: Record) -> Facts:
    """Everything that the record says of where it comes from; what it does not say is unknown."""
    environment, dataset, suite = record.environment, record.dataset, record.suite
    facts = {
        "cell": record.cell,
        "suite": f"{text(suite.get('name'))}, version {text(suite.get('version'))}",
        "suite's hash": suite.get("hash"),
        "data set": dataset.get("name"),
        "its fingerprint": dataset.get("fingerprint"),
        "its licence": dataset.get("licence"),
        "its rows": _joined(dataset.get("rows")),
        "search space": record.space_hash,
        "granted": _joined(record.budget),
        "spent": _joined(record.spent),
        "mmbench": environment.get("mmbench"),
        "engine": environment.get("engine"),
        "commit": environment.get("commit"),
        "Python": environment.get("python"),
        "libraries": _joined(environment.get("libraries")),
        "platform": environment.get("platform"),
        "processor": environment.get("processor"),
        "cores": environment.get("cores"),
        "device": environment.get("device"),
        "threads": environment.get("threads"),
    }
    return [(name, "unknown" if value is None else text(value)) for name, value in facts.items()]


def _joined(value: Any) -> str | None:
    """ "train 970, validation 321": a small table on one line."""
    if not isinstance(value, Mapping):
        return None if value is None else str(value)
    return ", ".join(f"{key} {text(entry)}" for key, entry in value.items())
