"""How much of this machine's measured rate of matrix products training achieves, for what is mostly arithmetic."""

import statistics
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import loops
from benchmarks.cases import Case, cases
from benchmarks.measure import Figure, Side, Spread, take_turns
from benchmarks.plain import trainers

SIDE, PRODUCTS = 1024, 4
CASES = ("LeNet pair", "small transformer")


def measure(*, quick: bool = False, rounds: int | None = None) -> Iterator[Figure]:
    """For each case and loop: FLOP a CPU-second over those of a float32 product of 1024 x 1024 on one thread."""
    for case in (case for case in cases(quick=quick) if case.name in CASES):
        work = operations(case)
        sides: dict[str, Side] = {
            "product": _product,
            loops.OURS: partial(loops.ours, case),
            loops.BARE: partial(loops.theirs, trainers.bare, case),
            "DataLoader + Adam": partial(loops.theirs, trainers.dataloader, case),
        }
        readings = take_turns(sides, rounds or (3 if quick else 9))
        rates = [PRODUCTS * 2 * SIDE**3 / reading.cpu for reading in readings.pop("product")]
        facts = {"GFLOP": round(work / 1e9, 3), "product GFLOP/s": round(statistics.median(rates) / 1e9, 1)}
        for name, found in readings.items():
            shares = [work / reading.cpu / rate for reading, rate in zip(found, rates, strict=True)]
            label = f"{case.name}, {name}: share of the product's FLOP/s"
            seconds = {name: statistics.median(reading.cpu for reading in found)}
            share = Spread.of([100 * value for value in shares])
            yield Figure(label, share, "%", seconds=seconds, facts=facts)


def operations(case: Case) -> int:
    """Floating-point operations of one training: forward and backward on train, forward on validation, by epoch.

    Counted on the plain model, attention included; what is elementwise is not counted, as usual.
    """
    model = case.models()[1]
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):  # made of products that are counted
        rows = slice(0, case.batch_size)
        with FlopCounterMode(display=False) as step:
            logits = model(*(view[rows] for view in case.train.views))
            F.cross_entropy(logits, case.train.target[rows]).backward()
        with FlopCounterMode(display=False) as look, torch.no_grad():
            model(*(view[rows] for view in case.valid.views))
    trained = len(case.train.target) / min(case.batch_size, len(case.train.target))
    judged = len(case.valid.target) / min(case.batch_size, len(case.valid.target))
    total: float = case.epochs * (step.get_total_flops() * trained + look.get_total_flops() * judged)
    return round(total)


def _product() -> Any:
    left, right = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    return lambda: [left @ right for _ in range(PRODUCTS)]
