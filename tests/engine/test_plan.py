"""From a suite to cells: keys that hold every ingredient, names that are checked, spaces that are walked."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmbench import plugins
from mmbench.api.space import Choice, Float, Parameter, Range, Setting
from mmbench.api.suite import ContenderSpec, CorruptionSpec, Suite
from mmbench.engine import plan as planning
from mmbench.engine.space import Cell, Choose, configure, default_params, full_space
from mmbench.errors import PluginError, SuiteError
from mmbench.plugins import Catalog, Shelf
from mmbench.store import suitefile

LEFT = ContenderSpec(name="only left", fusion=("majority",))
TOYS = str(Path(__file__).parents[1] / "toys.py")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return plugins.load([TOYS])


def noting(asked: list[str]) -> Choose:
    """Choose every default, and note which parameters were open."""

    def choose(name: str, parameter: Parameter) -> Any:
        asked.append(name)
        return parameter.default

    return choose


def cells(suite: Suite, catalog: Catalog, **options: Any) -> dict[str, Cell]:
    return {cell.contender: cell for cell in planning.make(suite, catalog, **options).cells}


def test_each_modality_is_a_contender(suite: Suite, catalog: Catalog) -> None:
    found = cells(suite, catalog)
    assert list(found) == ["majority", "only left", "only right", "concat", "gated"]
    assert dict(found["only left"].task.modalities) == {"left": "tabular"}
    assert found["only left"].encoders == {"left": ("mlp",)}


def test_no_contender_is_named_like_one_that_each_modality_makes(suite: Suite, catalog: Catalog) -> None:
    said = "contender 'only left': 'only', with each_modality = true, makes one named 'only left'; rename one"
    for contenders in ((*suite.contenders, LEFT), (LEFT, *suite.contenders)):
        with pytest.raises(SuiteError) as error:
            planning.make(replace(suite, contenders=contenders), catalog)
        assert str(error.value) == said


def test_choosing_tasks_and_contenders(suite: Suite, catalog: Catalog) -> None:
    assert list(cells(suite, catalog, contenders=["only"])) == ["only left", "only right"]
    assert list(cells(suite, catalog, contenders=["only left", "low_rank"])) == ["only left", "low_rank"]
    with pytest.raises(SuiteError, match="unknown task 'tou': did you mean 'toy'"):
        planning.make(suite, catalog, tasks=["tou"])


def test_a_key_changes_with_what_matters_and_with_nothing_else(suite: Suite, catalog: Catalog) -> None:
    key = cells(suite, catalog)["concat"].key
    assert cells(suite, catalog, contenders=["concat"])["concat"].key == key
    assert cells(replace(suite, description="other words"), catalog)["concat"].key == key
    fewer = replace(suite, contenders=suite.contenders[-2:])
    assert cells(fewer, catalog)["concat"].key == key, "a cell does not depend on its neighbours"
    damage = replace(suite.tasks[0], corruptions=(CorruptionSpec("missing", "left"),))
    others = [
        cells(replace(suite, seed=1), catalog),
        cells(replace(suite, limit=50), catalog),
        cells(replace(suite, budget=replace(suite.budget, epochs=5)), catalog),
        cells(replace(suite, budget=replace(suite.budget, trials=5)), catalog),
        cells(replace(suite, tasks=(damage,)), catalog),
        cells(replace(suite, tasks=(replace(suite.tasks[0], metric="f1"),)), catalog),
        cells(suite, catalog, device="cuda"),
    ]
    keys = {found["concat"].key for found in others} | {key}
    assert len(keys) == len(others) + 1


def test_a_key_changes_with_the_code_of_a_part(suite: Suite, tmp_path: Path) -> None:
    source = Path(TOYS).read_text()
    for name, text in (("one", source), ("two", source.replace("always raises", "never works"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "toys.py").write_text(text)
    keys = set()
    for name in ("one", "two"):
        found = planning.make(suite, plugins.load([str(tmp_path / name / "toys.py")]), contenders=["raises"])
        keys |= {cell.key for cell in found.cells}
    assert len(keys) == 2


def test_auto_is_every_fusion_that_fits_but_no_baseline(suite: Suite, catalog: Catalog) -> None:
    auto = replace(suite, contenders=(ContenderSpec("auto"),))
    fusions = cells(auto, catalog)["auto"].options("fusion")
    assert {"concat", "gated", "low_rank", "mean_logits"} <= set(fusions)
    assert not {"majority", "logistic", "dot"} & set(fusions)
    assert default_params(cells(auto, catalog)["auto"], catalog)["fusion"] == "concat"


def test_a_configuration_holds_active_parameters_only(suite: Suite, catalog: Catalog) -> None:
    cell = cells(suite, catalog, contenders=["low_rank"])["low_rank"]
    params = default_params(cell, catalog)
    assert params["fusion"] == "low_rank"
    assert set(params) <= set(full_space(cell, catalog))
    assert {"fusion.low_rank.rank", "encoder.left.mlp.width", "model.width", "train.lr"} <= set(params)
    majority = default_params(cells(suite, catalog)["majority"], catalog)
    assert set(majority) == {"fusion", "encoder.left", "encoder.right"}


def test_fixed_parameters(suite: Suite, catalog: Catalog) -> None:
    def fixing(**params: Any) -> Suite:
        spec = ContenderSpec("low", fusion=("low_rank",), params={f"fusion.low_rank.{k}": v for k, v in params.items()})
        return replace(suite, contenders=(spec,))

    asked: list[str] = []
    cell = cells(fixing(rank=7), catalog)["low"]
    params = configure(cell, catalog, noting(asked))
    assert params["fusion.low_rank.rank"] == 7
    assert "fusion.low_rank.rank" not in asked
    with pytest.raises(SuiteError, match=r"unknown parameter 'fusion.low_rank.rang': did you mean"):
        cells(fixing(rang=7), catalog)
    with pytest.raises(SuiteError, match="can't be 70000: it is a whole number from 1 to 32"):
        cells(fixing(rank=70_000), catalog)


def test_a_task_fixes_parameters_for_whoever_has_them(suite: Suite, catalog: Catalog) -> None:
    def fixing(**params: Any) -> Suite:
        given = {name.replace("__", "."): value for name, value in params.items()}
        return replace(suite, tasks=(replace(suite.tasks[0], params=given),))

    found = cells(fixing(model__width=32), catalog)
    assert default_params(found["concat"], catalog)["model.width"] == 32
    assert "model.width" not in default_params(found["majority"], catalog)
    with pytest.raises(SuiteError, match=r"task 'toy', params: unknown parameter 'model\.wide': did you mean"):
        cells(fixing(model__wide=32), catalog)
    with pytest.raises(SuiteError, match=r"model.width can't be 33"):
        cells(fixing(model__width=33), catalog)


def test_a_suite_fixes_narrows_or_opens_a_parameter(suite: Suite, catalog: Catalog) -> None:
    def given(**params: Setting) -> Cell:
        named = {name.replace("__", "."): setting for name, setting in params.items()}
        return cells(replace(suite, contenders=(ContenderSpec("c", ("concat",), params=named),)), catalog)["c"]

    space = full_space(given(train__lr=2e-5), catalog)
    assert space["train.lr"] == Choice((2e-5,), default=2e-5, structural=False), "outside of what is searched"
    space = full_space(given(model__width=(32, 64)), catalog)
    assert space["model.width"] == Choice((32, 64), default=32)
    lr = full_space(given(train__lr=Range(1e-5, 1e-3)), catalog)["train.lr"]
    assert isinstance(lr, Float)
    assert (lr.low, lr.high, lr.default, lr.log) == (1e-5, 1e-3, 1e-3, True)
    assert default_params(given(train__lr=Range(1e-5, 1e-3)), catalog)["train.lr"] == 1e-3
    for setting, said in (
        (Range(1e-3, 1e-5), "train.lr can't be searched so: it has low 0.001 above high 1e-05"),
        (Range(0.0, 1.0), "train.lr can't be 0.0: it is a number from 1e-08 to 100.0"),
        ((1e-3, 1000.0), "train.lr can't be 1000.0"),
    ):
        with pytest.raises(SuiteError, match=re.escape(said)):
            given(train__lr=setting)
    with pytest.raises(SuiteError, match=r"model\.width can't be a range: it is one of 32, 64"):
        given(model__width=Range(1, 3))


def test_several_objectives_at_once(suite: Suite, catalog: Catalog) -> None:
    names = ("contrastive+modality_dropout", "ogm_ge")
    spec = ContenderSpec("c", ("concat",), objective=names)
    cell = cells(replace(suite, contenders=(spec,)), catalog)["c"]
    params = default_params(cell, catalog)
    assert params["objective"] == "contrastive+modality_dropout"
    used = {name.split(".")[1] for name in params if name.startswith("objective.")}
    assert used == {"contrastive", "modality_dropout"}
    assert {"objective.contrastive", "objective.modality_dropout", "objective.ogm_ge"} <= set(cell.parts)
    with pytest.raises(SuiteError, match="contender 'c': unknown objective 'contrastiv': did you mean"):
        cells(replace(suite, contenders=(replace(spec, objective=("contrastiv+ogm_ge",)),)), catalog)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataset": "toi"}, r"^task 'toy': unknown dataset 'toi': did you mean 'toy'\?$"),
        ({"dataset": "nothing_like_it"}, r"^task 'toy': unknown dataset .*; --plugin loads what is not installed$"),
        ({"metric": "acuracy"}, r"^task 'toy': unknown metric 'acuracy': did you mean 'accuracy'\?$"),
        ({"encoders": {"left": ("mlpp",)}}, r"^task 'toy': unknown encoder 'mlpp': did you mean 'mlp'\?$"),
        ({"fusion": ("conct",)}, r"^contender 'mine': unknown fusion 'conct': did you mean 'concat'\?$"),
        ({"objective": ("ogmge",)}, r"^contender 'mine': unknown objective 'ogmge': did you mean 'ogm_ge'\?$"),
        ({"tasks": ("tay",)}, r"^contender 'mine': unknown task 'tay': did you mean 'toy'\?$"),
    ],
)
def test_an_unknown_name_says_where_it_stands(
    suite: Suite, catalog: Catalog, change: dict[str, Any], said: str
) -> None:
    task = replace(suite.tasks[0], **{k: v for k, v in change.items() if k in ("dataset", "metric", "encoders")})
    mine = ContenderSpec("mine", **{k: v for k, v in change.items() if k in ("fusion", "objective", "tasks")})
    with pytest.raises(SuiteError, match=said):
        cells(replace(suite, tasks=(task,), contenders=(mine,)), catalog)


def test_preparations_are_searched_only_if_the_suite_says_so(catalog: Catalog) -> None:
    stretch = suitefile.read(suitefile.find("stretch"))
    asked: dict[bool, list[str]] = {False: [], True: []}
    for tune in asked:
        suite = replace(stretch, budget=replace(stretch.budget, tune_preparation=tune))
        cell = planning.make(suite, catalog, tasks=["av_digits"], contenders=["concat"]).cells[0]
        configure(cell, catalog, noting(asked[tune]))
    prepared = {"encoder.image.cnn.size", "encoder.audio.logmel_cnn.bands", "encoder.audio.logmel_cnn.hop"}
    assert set(asked[True]) - set(asked[False]) == prepared


@pytest.mark.parametrize("name", ["starter", "stretch", "tables"])
def test_the_shipped_suites_resolve(name: str, catalog: Catalog) -> None:
    plan = planning.make(suitefile.read(suitefile.find(name)), catalog)
    assert all(cell.skip is None for cell in plan.cells)
    if name == "starter":
        tasks = {cell.task.name for cell in plan.cells}
        assert len(tasks) == 3
        assert all(sum(cell.task.name == task for cell in plan.cells) >= 9 for task in tasks)
        assert plan.suite.budget.trials >= 8
        assert (plan.suite.budget.refit_seeds, plan.suite.budget.default_seeds) == (9, 3)


def test_what_does_not_fit_a_text_is_skipped_with_its_reason(suite: Suite, catalog: Catalog) -> None:
    task = replace(suite.tasks[0], name="words", dataset="toy_text", metric="token_f1", encoders={}, corruptions=())
    names = ["concat", "cross_attention", "mean_logits", "logistic", "majority"]
    contenders = (
        *(ContenderSpec(name=name, fusion=(name,)) for name in names),
        ContenderSpec(name="balanced", fusion=("concat",), objective=("ogm_ge",)),
        ContenderSpec(name="auto"),
    )
    found = cells(replace(suite, tasks=(task,), contenders=contenders), catalog)
    assert {name: cell.skip for name, cell in found.items()} == {
        "concat": None,
        "cross_attention": None,
        "mean_logits": "gives logits, a text needs tokens or vector",
        "logistic": "predicts classes and numbers, and writes no text",
        "majority": None,
        "balanced": "ogm_ge: asks a linear layer of each modality for the target, and none writes a text",
        "auto": None,
    }
    assert "head.text.layers" in default_params(found["concat"], catalog)
    assert "head.text.layers" not in default_params(found["majority"], catalog)
    assert "mean_logits" not in found["auto"].slots[0].options
    assert "head.text" in found["concat"].parts


def test_a_modality_named_like_another_and_its_encoder_is_refused(suite: Suite, catalog: Catalog) -> None:
    """encoder.left.mlp would be the choice for "left.mlp", and the head of what the mlp of "left" is given."""
    dataset = catalog.datasets["toy"]
    for name, fine in (("left.mlp", False), ("left.mlp.x", False), ("left.1", True), ("left.right", True)):
        kind = type("Odd", (type(dataset),), {"columns": {"left": "tabular", name: "tabular", "right": "tabular"}})
        shelf = Shelf(catalog.datasets.role, {"toy": kind()}, {})
        odd = replace(catalog, datasets=shelf)
        if fine:
            assert planning.make(suite, odd).cells
        else:
            with pytest.raises(SuiteError, match=rf"modality '{name}' is named like 'left' and an encoder"):
                planning.make(suite, odd)


@pytest.mark.parametrize("role", ["metric", "fusion", "head"])
def test_a_part_that_raises_when_asked_whether_it_fits_is_one_line(
    suite: Suite, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    part = {"metric": catalog.metrics["accuracy"], "fusion": catalog.fusions["concat"], "head": catalog.heads["label"]}
    monkeypatch.setattr(type(part[role]), "supports", lambda self, task: dict[str, str]()["asked"])
    with pytest.raises(PluginError, match=f"{role} '.*', asked whether it fits task 'toy': supports raises KeyError"):
        planning.make(suite, catalog)
