"""What a training costs in mmbench's loop, in the barest loop of the same arithmetic, and in those that users write."""

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec

from benchmarks.cases import Case, cases, rule, score
from benchmarks.measure import Figure, Side, compare, take_turns
from benchmarks.plain import trainers
from mmbench.engine.learn.train import Lesson, Recipe, fit

OURS, BARE = "mmbench", "bare loop"


def measure(*, quick: bool = False, rounds: int | None = None) -> Iterator[Figure]:
    """For each case: mmbench over the bare loop, then each other loop over mmbench."""
    for case in cases(quick=quick):
        readings = take_turns(sides(case), rounds or (2 if quick else 15))
        facts = {"rows": len(case.train.target), "batch": case.batch_size, "epochs": case.epochs}
        yield compare(f"{case.name}: mmbench / bare loop", readings, over=(OURS, BARE), claim="<= 1.03", facts=facts)
        for name in [name for name in readings if name not in (OURS, BARE)]:
            claim = ">= 2" if case.small and name == "DataLoader + Adam" else None
            yield compare(f"{case.name}: {name} / mmbench", readings, over=(name, OURS), claim=claim, facts=facts)


def sides(case: Case) -> dict[str, Side]:
    """Each trains a fresh model from the same weights; building it is not timed."""
    found: dict[str, Side] = {OURS: lambda: ours(case), BARE: lambda: theirs(trainers.bare, case)}
    for name, loop in trainers.LOOPS.items():
        if name not in trainers.NEEDS or find_spec(trainers.NEEDS[name]):
            found[name] = partial(theirs, loop, case)
    return found


def ours(case: Case) -> Callable[[], list[float]]:
    """mmbench's own training of the case, ready to run; gives the score by epoch."""
    recipe = Recipe(
        epochs=case.epochs,
        patience=case.epochs,
        batch_size=case.batch_size,
        seed=0,
        rule=rule(lr=trainers.LR, weight_decay=trainers.DECAY),
    )
    lesson = Lesson(case.inputs(case.train), case.inputs(case.valid), score(case.valid.target))
    model = case.models()[0]
    return lambda: fit(model, recipe, lesson).curve


def theirs(loop: trainers.Loop, case: Case) -> Callable[[], list[float]]:
    """A loop without mmbench, ready to run."""
    model = case.models()[1]
    return lambda: loop(model, case)
