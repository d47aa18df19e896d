"""A small suite, the rows that a run of it stores, for the tests of the store and of its rows."""

from dataclasses import replace
from typing import Any

from mmbench.api.record import Record, Refit, Trial
from mmbench.api.suite import Budget, ContenderSpec, Suite, TaskSpec

CELL = "0123456789abcdef"
SUITE = Suite("small", 1, Budget(), (TaskSpec("digits", "digits", "accuracy"),), (ContenderSpec("concat"),))


def trial(number: int, cell: str = CELL, **other: Any) -> Trial:
    first = Trial(
        cell=cell,
        number=number,
        params={"fusion.concat.dropout": 0.1, "width": 32},
        status="ok",
        reason=None,
        score=0.5 + number / 100_000,
        curve=[0.25, 0.5],
        epochs=2,
        seconds=0.125,
    )
    return replace(first, **other)


def refit(seed: int, cell: str = CELL, **other: Any) -> Refit:
    first = Refit(
        cell=cell,
        role="tuned",
        seed=seed,
        params={"width": 32},
        status="ok",
        reason=None,
        valid=0.5,
        metrics={"accuracy": 0.75},
        curves={"missing image": [(0.0, 0.75), (1.0, 0.25)]},
        predictions=None,
        epochs=3,
        seconds=1.5,
        train_throughput=100.0,
    )
    return replace(first, **other)


def record(contender: str = "concat", cell: str = CELL, **other: Any) -> Record:
    first = Record(
        cell=cell,
        suite={"name": "small", "version": 1, "hash": "x"},
        task="digits",
        contender=contender,
        status="ok",
        reason=None,
        metric="accuracy",
        directions={"accuracy": "max"},
        dataset={"name": "digits", "fingerprint": "x", "licence": "MIT", "rows": {"test": 3}},
        modalities={"image": "image"},
        params={},
        default_params={},
        space_hash="x",
        parts={"fusion.concat": "x"},
        refits=[refit(0)],
    )
    return replace(first, **other)
