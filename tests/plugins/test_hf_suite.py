"""A suite's own encoders: what its tables may say, what a cell's key is made of, and a training from end to end."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mmbench_hf.form import make
from mmbench_hf.place import Place

from mmbench import plugins, session
from mmbench.api.suite import Suite
from mmbench.cli.app import call
from mmbench.engine import plan as planning
from mmbench.engine.jobs.attempt import Attempt, Group, groups
from mmbench.engine.jobs.workspace import Workspace
from mmbench.engine.plan import Plan
from mmbench.engine.space import default_params, full_space
from mmbench.errors import DataError, SuiteError
from mmbench.store import suitefile
from tests.plugins import tiny
from tests.plugins.hub import COMMIT, NAME, served

SUITE = """
name = "hub"

[budget]
trials = 1
epochs = 2
refit_seeds = 1

[encoder.bert]
type = "hf_text"
folder = "bert"

[[task]]
name = "birds"
metric = "accuracy"
encoders = { text = ["bert"] }
[task.data]
files = "birds.csv"
[task.data.columns]
text = "text"
facts = { columns = ["size"], kind = "tabular" }
[task.data.target]
label = "kind"

[[contender]]
name = "frozen"
fusion = "concat"

[[contender]]
name = "lora"
fusion = "concat"
[contender.params]
encoder.text.bert.weights = "tuned"
encoder.text.bert.tune = "lora"
encoder.text.bert.lr = 2e-5
train.clip = 1.0
train.accumulate = 2
train.warm_up = 0.1
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite, its rows, and a tiny BERT beside it."""
    folder = tmp_path_factory.mktemp("hub")
    tiny.bert(folder / "bert")
    lines = [f"a {'red bird sings' if n % 2 else 'blue fish swims'},{n % 7},{'ab'[n % 2]}" for n in range(60)]
    (folder / "birds.csv").write_text("\n".join(["text,size,kind", *lines]))
    (folder / "hub.toml").write_text(SUITE)
    return folder


def planned(suite: Suite) -> tuple[Plan, plugins.Catalog]:
    catalog = plugins.load().with_own(suite.own, suite.encoders)
    return planning.make(suite, catalog), catalog


def test_a_model_of_the_suite_is_searched_as_any_encoder(place: Path, tmp_path: Path) -> None:
    """Frozen by default; by LoRA where the contender says so, its gradients clipped and accumulated."""
    plan, catalog = planned(suitefile.read(place / "hub.toml"))
    for cell in plan.cells:
        assert cell.options("encoder")[0] == "bert"
        workspace = Workspace(cell, catalog, tmp_path / "cache")
        attempt = Attempt(default_params(cell, catalog), seed=3)
        Group(workspace, [attempt]).run()
        assert attempt.status == "ok", attempt.reason
        assert attempt.fit.score >= 0
        names = dict(attempt.model.named_parameters())
        lora = cell.contender == "lora"
        assert any(name.endswith(".up") for name in names) == lora
        assert any(".embeddings." in name for name in names) == lora, "a frozen model is not in what is trained"
        assert attempt.params["encoder.text.bert.weights"] == ("tuned" if lora else "frozen")
        recipe = workspace.recipe(attempt.params, seed=3)
        assert catalog.encoders["bert"].together({"weights": "frozen"})
        assert len(groups(workspace, [attempt] * 4)) == (4 if lora else 1), "what is tuned trains one by one"
        assert (recipe.clip, recipe.accumulate) == ((1.0, 2) if lora else (0.0, 1))
        assert recipe.rule.course["warm_up"] == (0.1 if lora else 0.05)


@pytest.mark.slow
def test_a_whole_run(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a worker that is confined, and its trials asked for again by who stands where the model lies."""
    run = session.open_run(str(place / "hub.toml"), results=tmp_path / "results").execute(workers=1)
    assert [record.status for record in run.data.records] == ["ok", "ok"]
    assert suitefile.read(run.folder / "suite.toml").encoders.keys() == {"bert"}
    monkeypatch.chdir(place)
    assert call(["verify", str(run.folder)]) == 0
    assert " 2 replays, 2 trials" in capsys.readouterr().out


def test_the_key_of_a_cell_names_the_model(place: Path, tmp_path: Path) -> None:
    """A changed weight is another encoder; where the folder lies and what else is in it changes nothing; nor do models
    change the cells of those that do not use them."""
    suite = suitefile.read(place / "hub.toml")
    first = planned(suite)[0].cells[0]
    assert "model.safetensors" in " ".join(first.sources["encoder.bert"])
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    tiny.bert(moved / "bert")
    (moved / "bert/README.md").write_text("words")
    elsewhere = replace(suite, encoders={"bert": replace(suite.encoders["bert"], folder=str(moved))})
    assert planned(elsewhere)[0].cells[0].parts == first.parts
    tiny.bert(moved / "bert", hidden_dropout_prob=0.3)
    assert planned(elsewhere)[0].cells[0].parts["encoder.bert"] != first.parts["encoder.bert"]
    keys = set()
    for revision in (COMMIT, "f" * 40):
        table = {"type": "hf_text", "hub": "owner/bert", "revision": revision}
        hub = replace(suite, encoders={"bert": replace(suite.encoders["bert"], table=table)})
        plan, catalog = planned(hub)
        keys.add(plan.cells[0].key)
        params = default_params(plan.cells[0], catalog)
        assert params["encoder.text.bert.model"] == f"owner/bert@{revision}"
    assert len(keys) == 2


def test_who_uses_no_model_has_the_key_of_before(place: Path) -> None:
    """Also where clip and accumulate are known to the engine now: a space says nothing of what nobody opened."""
    suite = suitefile.read(place / "hub.toml")
    text = replace(suite.tasks[0], encoders={"text": ("embedding",)})
    with_, without = (
        planned(replace(suite, tasks=(text,), contenders=suite.contenders[:1], encoders=encoders))[0].cells[0]
        for encoders in (suite.encoders, {})
    )
    assert with_.key == without.key
    assert "train.clip" in full_space(without, plugins.load().with_own(suite.own))
    clipped = replace(suite.contenders[0], params={"train.clip": 1.0})
    other = planned(replace(suite, tasks=(text,), contenders=(clipped,)))[0].cells[0]
    assert other.space_hash != without.space_hash


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"type": "hf_txt"}, "type: unknown type of model 'hf_txt': did you mean 'hf_text'?"),
    ({"type": "hf_text", "foldr": "a"}, "unknown key 'foldr': did you mean 'folder'?"),
    ({"type": "hf_text", "folder": 3}, "folder must be a text, not 3"),
    ({"type": "hf_text"}, 'write either folder = "..." or hub = "owner/name"'),
    ({"type": "hf_text", "folder": "a", "hub": "b"}, 'write either folder = "..." or hub = "owner/name"'),
    ({"type": "hf_text", "folder": "a", "revision": COMMIT}, "revision is only for a model of the hub"),
    ({"type": "hf_text", "hub": "../a"}, "hub '../a' is no name of a model: write owner/name, or folder = ..."),
    ({"type": "hf_text", "hub": "owner/a"}, "hub 'owner/a' needs revision = \"...\", a commit of it"),
    ({"type": "hf_text", "hub": "owner/a", "revision": "main"}, "revision 'main' is no commit: write its 40"),
]


@pytest.mark.parametrize(("table", "said"), WRONG, ids=[said[:20] for _, said in WRONG])
def test_a_table_that_is_wrong_is_one_line(table: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as caught:
        make("mine", table, Path("/"))
    assert str(caught.value).startswith(said)


def test_what_the_core_says_of_such_tables(place: Path) -> None:
    suite = suitefile.read(place / "hub.toml")
    own = suite.encoders["bert"]
    for encoders, said in (
        ({"minilm": own}, "[encoder.minilm]: an encoder of a plugin has that name; rename it"),
        ({"a": replace(own, table={"type": "other"})}, "[encoder.a]: no plugin reads it"),
        ({"a": replace(own, table={"type": "hf_text"})}, "[encoder.a]: write either folder"),
    ):
        with pytest.raises(SuiteError) as caught:
            plugins.load().with_own({}, encoders)
        assert str(caught.value).startswith(said)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for name, said in (
        (None, "does not exist"),
        ("notes.txt", "has no config.json"),
        ("config.json", "has no *.safetensors"),
        ("pytorch_model.bin", "has no *.safetensors: a pickle (.bin) is not read; save the model anew as safetensors"),
        ("model.safetensors", "has no tokenizer.json or vocab.txt or vocab.json or *.model"),
    ):
        if name:
            folder.mkdir(exist_ok=True)
            (folder / name).write_text("")
        with pytest.raises(DataError) as caught:
            Place(folder=folder).local(("tokenizer.json", "vocab.txt", "vocab.json", "*.model"))
        assert str(caught.value).startswith(f"folder {str(folder)!r} {said}")


def test_a_hub_that_can_t_be_asked_is_one_line() -> None:
    from huggingface_hub import constants

    assert constants.HF_HUB_OFFLINE  # as tests/conftest.py has it
    part = make("mine", {"type": "hf_text", "hub": "owner/none", "revision": COMMIT}, Path("/"))
    assert part is not None
    with pytest.raises(
        DataError, match=r"^\[encoder.mine\]: hub 'owner/none' at 0123456789ab is not in the cache of the hub"
    ) as caught:
        part.fetch()
    assert "HF_HUB_OFFLINE is set" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_model_of_the_hub_is_fetched_once_at_its_commit(tmp_path: Path) -> None:
    """By the real client: what is read of a model and nothing else; then the hub is not asked again."""
    hub = tmp_path / "hub"
    hub.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "pytorch_model.bin", "modeling.py"):
        (hub / name).write_text("{}")
    code = """
import sys
from pathlib import Path
from mmbench.errors import DataError
from mmbench_hf.form import make
for revision in sys.argv[2:]:
    part = make("mine", {"type": "hf_text", "hub": sys.argv[1], "revision": revision}, Path("/"))
    try:
        print(*sorted(file.name for file in part.fetch()[0].iterdir()))
    except DataError as error:
        print(error)
"""
    environ = {key: value for key, value in os.environ.items() if not key.endswith("_OFFLINE")}
    own = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}

    def said(address: str, *revisions: str) -> list[str]:
        words = [sys.executable, "-c", code, NAME, *revisions]
        told = environ | own | {"HF_ENDPOINT": address}
        done = subprocess.run(words, env=told, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    with served(hub, "models") as address:
        here, other = said(address, COMMIT, "f" * 40)
    assert here == "config.json model.safetensors tokenizer.json"
    assert other.startswith(f"[encoder.mine]: hub '{NAME}' at ffffffffffff can't be fetched: ")
    assert other.endswith("write folder = ... for a copy of the model where there is no network")
    assert said(address, COMMIT) == [here], "nobody listens there any more"


def test_weights_of_another_model_are_refused(place: Path, tmp_path: Path) -> None:
    """transformers would draw what is missing at random, with no more than a note."""
    from safetensors.torch import load_file, save_file

    folder = tiny.bert(tmp_path / "bert")
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    part = make("mine", {"type": "hf_text", "folder": str(folder)}, Path("/"))
    assert part is not None
    with pytest.raises(DataError, match=r"^the weights in 'bert' lack 'encoder.layer.1.output.dense.weight'"):
        part.fit([], {"weights": "frozen", "tokens": "mean", "length": 8})
    (folder / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"^the model in 'bert' can't be read: ") as caught:
        part.fit([], {"weights": "frozen", "tokens": "mean", "length": 8})
    assert "\n" not in str(caught.value)
