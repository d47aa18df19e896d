"""Derived cells: what is made of another contender's trained models, and what happens where those are gone."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mmbench import plugins, reproduce, session
from mmbench.api.record import Record
from mmbench.api.suite import ContenderSpec, Suite
from mmbench.engine import plan as planning
from mmbench.engine.jobs.workspace import Workspace
from mmbench.engine.learn.model import predict
from mmbench.engine.space import Cell
from mmbench.errors import SuiteError
from mmbench.plugins import Catalog
from mmbench.store import reading, suitefile
from mmbench.trust.verify import verify
from tests.engine.conftest import TESTS, TOYS

CONTENDERS = (
    ContenderSpec("half of concat", of="concat", compressor=("half",)),  # before its parent
    ContenderSpec("concat", fusion=("concat",)),
    ContenderSpec("small concat", of="concat", compressor=("prune+int8",), params={"compressor.prune.sparsity": 0.6}),
    ContenderSpec("majority", fusion=("majority",)),
    ContenderSpec("either", fusion=("majority", "logistic")),
    ContenderSpec("half of either", of="either", compressor=("half",)),
    ContenderSpec("raises", fusion=("raises",)),
    ContenderSpec("half of raises", of="raises", compressor=("half",), params={"compressor.half.dtype": "float16"}),
)


def lean(suite: Suite) -> Suite:
    return replace(suite, name="lean", contenders=CONTENDERS)


@pytest.fixture(scope="module")
def made(shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> session.Run:
    """A run with derived cells, made once. Not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMBENCH_CACHE", str(shared_cache))
        suite = lean(suitefile.read(TESTS / "toy.toml"))
        return session.run(suite, plugins=[TOYS], results=tmp_path_factory.mktemp("derived"), workers=2)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return plugins.load([TOYS])


def record(run: session.Run, contender: str) -> Record:
    return next(r for r in run.data.records if r.contender == contender)


def predictions(run: session.Run, contender: str) -> dict[int, Any]:
    """{seed: the winner's predictions on test}"""
    refits = [refit for refit in record(run, contender).refits if refit.role == "tuned"]
    return {refit.seed: reading.load_predictions(run.folder, refit)["test"] for refit in refits}


def cell(run: session.Run, catalog: Catalog, contender: str) -> Cell:
    plan = planning.make(run.suite, catalog)
    return next(cell for cell in plan.cells if cell.contender == contender)


def test_what_is_derived_is_its_parents_winner_changed(made: session.Run, catalog: Catalog, cache: Path) -> None:
    """Held against the equation: the kept weights in that type, by torch itself."""
    parent, child = record(made, "concat"), record(made, "half of concat")
    assert child.status == "ok", child.reason
    assert child.derived == {"of": "concat", "cell": parent.cell}
    dtype = getattr(torch, child.params["compressor.half.dtype"])
    own = {"compressor": "half", "compressor.half.dtype": child.params["compressor.half.dtype"]}
    assert child.params == {**parent.params, **own}
    assert child.spent["trials"] == 4
    assert child.spent["epochs"] == 0, "it trains nothing"
    place = Workspace(cell(made, catalog, "concat"), catalog, cache)
    for seed, found in predictions(made, "half of concat").items():
        model = place.model(parent.params, seed=0)
        kept = load_file(made.folder / "weights" / f"{parent.cell}.tuned.{seed}.safetensors")
        model.load_state_dict({name: w.to(dtype).float() if w.is_floating_point() else w for name, w in kept.items()})
        rounded = place.decoded(predict(model, place.inputs(parent.params, "test")).numpy())
        np.testing.assert_allclose(found, rounded, atol=0.03)  # the arithmetic in between is in 16 bits, too
        assert not np.array_equal(found, predictions(made, "concat")[seed])


def test_it_is_measured_with_its_own_weights(made: session.Run) -> None:
    parent, child = record(made, "concat").cost, record(made, "half of concat").cost
    assert child["parameters"] == parent["parameters"]
    assert child["weight_bytes"] == parent["weight_bytes"] / 2
    assert child["latency_ms_p50"] > 0
    assert child["train_throughput"] is None


def test_a_chain_is_done_in_its_order_and_trained_on_between(made: session.Run) -> None:
    """Pruned by six tenths, trained on, in eight bits."""
    parent, child = record(made, "concat"), record(made, "small concat")
    assert child.status == "ok", child.reason
    assert child.params["compressor"] == "prune+int8"
    scores = [record.scores("accuracy") for record in (parent, child)]
    assert sum(scores[1]) / len(scores[1]) > sum(scores[0]) / len(scores[0]) - 0.15
    assert child.cost["weight_bytes"] < 0.45 * parent.cost["weight_bytes"]
    assert 0.35 < child.cost["nonzero"] / parent.cost["nonzero"] < 0.6
    assert child.cost["latency_ms_p50"] > 0


def test_what_has_no_models_is_skipped_with_the_reason(made: session.Run) -> None:
    either, failed = record(made, "half of either"), record(made, "half of raises")
    assert either.status == failed.status == "skipped"
    assert either.reason == "'either' trains no network"
    assert failed.reason is not None
    assert "'raises', whose models it takes, has no trial that ended well" in failed.reason


def test_a_run_with_derived_cells_is_clean(made: session.Run, catalog: Catalog, tmp_path: Path) -> None:
    assert not verify(made.folder, catalog).findings
    copy = Path(shutil.copytree(made.folder, tmp_path / "copy"))
    shutil.rmtree(copy / "weights")
    assert not verify(copy, catalog).findings, "weights may be thrown away"


def test_altered_weights_and_another_parent_are_found(made: session.Run, catalog: Catalog, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(made.folder, tmp_path / "copy"))
    _alter(next((copy / "weights").iterdir()))
    found = [str(finding) for finding in verify(copy, catalog).findings]
    assert any("was altered" in line for line in found), found
    lines = (copy / "records.jsonl").read_text().splitlines(keepends=True)
    (copy / "records.jsonl").write_text("".join(line.replace('"of":"concat"', '"of":"majority"') for line in lines))
    found = [str(finding) for finding in verify(copy, catalog).findings]
    assert any("what it is derived from" in line and "majority" in line for line in found), found


def _alter(file: Path) -> None:
    weights = load_file(file)
    save_file({name: -value for name, value in weights.items()}, file)


@pytest.mark.parametrize("state", ["kept", "thrown away", "altered"])
def test_a_parent_of_an_earlier_run(
    made: session.Run, catalog: Catalog, execute: Callable[..., session.Run], suite: Suite, tmp_path: Path, state: str
) -> None:
    """The same comes out if the parent was done before, whether its weights are there, are gone, or are not what was
    stored: then the training is done again."""
    results = tmp_path / "results"
    execute(lean(suite), contenders=["concat"], keep_weights=True)
    weights = sorted((results / "lean" / "weights").iterdir())
    assert len(weights) == 2
    for file in weights:
        if state == "thrown away":
            file.unlink()
        elif state == "altered":
            _alter(file)
    run = execute(lean(suite), contenders=["half of concat"])
    assert record(run, "half of concat").status == "ok"
    for seed, found in predictions(run, "half of concat").items():
        np.testing.assert_allclose(found, predictions(made, "half of concat")[seed], atol=1e-3)


def test_a_model_that_can_not_be_had_again_is_not_used(
    execute: Callable[..., session.Run], suite: Suite, tmp_path: Path
) -> None:
    """The recorded score on validation says so: here it was changed, and the weights are gone."""
    execute(lean(suite), contenders=["concat"])
    folder = tmp_path / "results" / "lean"
    from tests.trust.conftest import Forger

    def change(kind: str, row: dict[str, Any]) -> None:
        if kind == "refit":
            row["valid"] = 0.123

    Forger(folder).change("trials.jsonl", change)
    run = execute(lean(suite), contenders=["half of concat"])
    told = record(run, "half of concat")
    assert told.status == "error"
    assert told.reason is not None
    assert "on validation, not 0.123 as recorded" in told.reason


def test_weights_are_kept_where_something_needs_them(made: session.Run) -> None:
    kept = {file.name.partition(".")[0] for file in (made.folder / "weights").iterdir()}
    assert kept == {record(made, "concat").cell}
    refits = record(made, "concat").refits
    assert [refit.weights is not None for refit in refits] == [refit.role == "tuned" for refit in refits]


def test_the_key_is_the_parents_and_what_is_done(suite: Suite, catalog: Catalog) -> None:
    def keys(which: Suite) -> dict[str, str]:
        return {cell.contender: cell.key for cell in planning.make(which, catalog).cells}

    plain, whole = keys(replace(suite, contenders=(CONTENDERS[1],))), keys(lean(suite))
    assert whole["concat"] == plain["concat"], "what is derived from a cell changes nothing of it"
    narrow = replace(CONTENDERS[1], params={"model.width": 64})
    changed = keys(replace(lean(suite), contenders=(CONTENDERS[0], narrow)))
    assert changed["half of concat"] != whole["half of concat"]
    fixed = replace(CONTENDERS[0], params={"compressor.half.dtype": "float16"})
    changed = keys(replace(lean(suite), contenders=(fixed, CONTENDERS[1])))
    assert changed["half of concat"] != whole["half of concat"]
    assert changed["concat"] == whole["concat"]


def test_what_is_chosen_brings_its_parent(suite: Suite, catalog: Catalog) -> None:
    plan = planning.make(lean(suite), catalog, contenders=["half of concat"])
    assert [cell.contender for cell in plan.cells] == ["half of concat", "concat"]
    opened = session.open_run(lean(suite), plugins=[TOYS], contenders=["half of concat"])
    assert [row["trainings"] for row in session.estimate(opened)] == [0, 8], "4 trials and 2 x 2 refits of the parent's"


def test_every_fold_has_its_own_parent(suite: Suite, catalog: Catalog) -> None:
    folded = replace(lean(suite), tasks=(replace(suite.tasks[0], folds=3),))
    plan = planning.make(folded, catalog, contenders=["half of concat"])
    pairs = {(cell.task.name, cell.parent.task.name) for cell in plan.cells if cell.parent}
    assert pairs == {(f"toy#{n}", f"toy#{n}") for n in (1, 2, 3)}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('of = "concat"', "of needs compressor: of = CONTENDER, compressor = PART"),
        ('compressor = "half"', "compressor needs of: of = CONTENDER, compressor = PART"),
        ('of = "concat"\ncompressor = "half"\nfusion = "gated"', "write either of or fusion"),
        ('of = "concat"\ncompressor = "half"\neach_modality = true', "write either of or each_modality"),
        ('of = "conkat"\ncompressor = "half"', "of: unknown contender 'conkat': did you mean 'concat'?"),
        ('of = "concat"\ncompressor = "halt"', "unknown compressor 'halt': did you mean 'half'?"),
        ('of = "other"\ncompressor = "half"', "'other' is derived itself; write compressor = \"a+b\""),
        ('of = "concat"\ncompressor = "half"\nparams = { "compressor.half.bits" = 8 }', "unknown parameter"),
    ],
)
def test_what_can_not_be_derived_is_said_before_anything_runs(
    tmp_path: Path, catalog: Catalog, lines: str, said: str
) -> None:
    file = tmp_path / "lean.toml"
    tables = [(TESTS / "toy.toml").read_text().partition("[[contender]]")[0], 'name = "concat"\nfusion = "concat"']
    tables += ['name = "other"\nof = "concat"\ncompressor = "half"', f'name = "mine"\n{lines}']
    file.write_text("\n[[contender]]\n".join(tables))
    with pytest.raises(SuiteError) as error:
        planning.make(suitefile.read(file), catalog)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_it_is_reproduced_with_its_parent(made: session.Run, catalog: Catalog, cache: Path) -> None:
    chosen = reproduce.choose(made.data)
    assert [one.contender for one in chosen] == ["concat"], "not what is derived, cheap as it is"
    (found,) = reproduce.reproduce(
        made.data, catalog, [record(made, "half of concat")], cache=cache, device="cpu", seed=1
    )
    assert found.failure is None
    assert found.reproduced
    assert found.seeds == (1,)
