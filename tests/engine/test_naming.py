"""Modalities may have any name that a table may have; modules get one that torch can hold."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

import mmbench as mb
from mmbench import plugins
from mmbench.api.space import defaults
from mmbench.engine.learn.model import Inputs, assemble, predict
from mmbench.engine.learn.naming import TAKEN, inner_names
from mmbench.errors import PluginError

CATALOG = plugins.load()
ODD = (
    "train",
    "values",
    "type",
    "items",
    "float",
    "image.1",
    "keys",
    "training",
    "forward",
    "_modules",
    "__class__",
    "a.b.c",
    "...",
)
FINE = (
    "image",
    "present",
    "mask",
    "target",
    "label",
    "with space",
    "ünï",
    "a/b",
    "class",
    "1",
    "x" * 100,
    "-",
    "日本",
)


@pytest.mark.parametrize("name", ODD)
def test_a_name_that_torch_can_not_hold_is_replaced(name: str) -> None:
    with pytest.raises(KeyError):
        nn.ModuleDict({name: nn.Linear(1, 1)})
    assert nn.ModuleDict({inner_names([name])[name]: nn.Linear(1, 1)})


@pytest.mark.parametrize("name", FINE)
def test_any_other_stays(name: str) -> None:
    assert inner_names([name]) == {name: name}


def test_no_two_are_alike_whatever_the_order() -> None:
    names = ["a.b", "a_b", "a.b_", "values", "values_", "a_b_"]
    found = inner_names(names)
    assert list(found) == names
    assert len(set(found.values())) == len(names)
    assert {name: found[name] for name in ("a_b", "values_", "a_b_")} == {
        "a_b": "a_b",
        "values_": "values_",
        "a_b_": "a_b_",
    }
    assert inner_names(reversed(names)) == found
    assert not set(found.values()) & TAKEN


class Numbers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 5)

    def forward(self, arrays: dict[str, Tensor]) -> Tensor:
        out: Tensor = self.linear(arrays["x"])
        return out


class Reads(mb.Encoder):
    """Three numbers to five."""

    name = "reads"
    kind = "tabular"

    def build(self, state: Any, params: Any) -> Any:
        return Numbers()


class OneCatalog:
    """The installed parts, and an encoder of one layer."""

    encoders = {"reads": Reads()}
    fusions, objectives = CATALOG.fusions, CATALOG.objectives


TASK = mb.Task("t", "d", {"a": "tabular", "b": "tabular"}, mb.Label("y"), "accuracy")
TRAINED = [n for n, fusion in CATALOG.fusions.items() if fusion.level != "estimator" and not fusion.supports(TASK)]


@pytest.mark.parametrize("fusion", TRAINED)
@pytest.mark.parametrize("pair", [("values", "image.1"), ("type", "type_")])
def test_every_fusion_and_objective_takes_such_names(fusion: str, pair: tuple[str, str]) -> None:
    arrays = {name: {"x": torch.randn(6, 3)} for name in pair}
    base = {"fusion": fusion, "model.width": 32, "model.dropout": 0.0, **{f"encoder.{name}": "reads" for name in pair}}
    base |= {f"fusion.{fusion}.{name}": value for name, value in defaults(CATALOG.fusions[fusion].space).items()}
    for objective in CATALOG.objectives if fusion == "concat" else [None]:
        chosen = {"objective": objective} if objective else {}
        own = defaults(CATALOG.objectives[objective].space) if objective else {}
        params = base | chosen | {f"objective.{objective}.{name}": value for name, value in own.items()}
        head, one = (CATALOG.heads["label"], {"outputs": 3}), cast(Any, OneCatalog())
        model = assemble(one, params, {name: {} for name in pair}, head, arrays, 0)
        assert predict(model, Inputs(arrays, None, 6)).shape == (6, 3)
        assert [model.modalities[name] for name in model.encode(arrays)] == list(pair)


def test_the_sides_of_a_match_are_found_under_their_other_names() -> None:
    """With the sides confused, or none found, every candidate of a row would get the same score."""
    arrays = {name: {"x": torch.randn(6, 3)} for name in ("values", "image.1")}
    params = {
        "fusion": "concat",
        "model.width": 32,
        "model.dropout": 0.0,
        "encoder.values": "reads",
        "encoder.image.1": "reads",
    }
    params |= {f"fusion.concat.{name}": value for name, value in defaults(CATALOG.fusions["concat"].space).items()}
    head = CATALOG.heads["match"], {"outputs": 1, "left": ["values"]}
    model = assemble(OneCatalog(), params, {name: {} for name in arrays}, head, arrays, 0)  # type: ignore[arg-type]
    scores = predict(model, Inputs(arrays, None, 6))
    assert scores.std(0).min() > 1e-4
    assert scores.std(1).min() > 1e-4


class Named(mb.Dataset):
    """No rows are needed."""

    name = "named"
    columns = {"x": "tabular"}
    target = mb.Label("y")
    licence = "CC0-1.0"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"columns": {"": "text"}}, "modality '' needs a name"),
        ({"columns": {"  ": "text"}}, "modality '  ' needs a name"),
        ({"columns": {3: "text"}}, "modality 3 needs a name"),
        ({"columns": {"a\nb": "text"}}, r"modality 'a\\nb' has characters in its name that can't be shown"),
        ({"columns": {"a\u200bb": "text"}}, "can't be shown"),
        ({"columns": {"x" * 101: "text"}}, "has a name of 101 characters; 100 are the most"),
        ({"columns": {}}, "columns names no modality"),
        ({"columns": {"y": "text"}}, "the target column 'y' is a modality too: every model would be given the answer"),
        ({"target": mb.Match(("x",), ("z",))}, "'z' is a side of the match, but no modality"),
        ({"unreadable": "skip"}, "unreadable is 'skip'; choose from refuse, missing"),
    ],
)
def test_what_can_not_be_is_refused_in_one_line(changed: dict[str, Any], said: str) -> None:
    from mmbench.api.roles import ROLES
    from mmbench.plugins import _check

    part: type[mb.Dataset] = type("Changed", (Named,), changed)
    with pytest.raises(PluginError, match=said) as caught:
        _check(part, ROLES[0], "file.py")
    assert "\n" not in str(caught.value)
    _check(Named, ROLES[0], "file.py")
