"""What torch does not promise: all of it in one file, there today, and its public ways give the same."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from mmbench.api import torch_private

ROOT = Path(__file__).parents[2]
NAMED = re.compile(
    r"torch\._(?!_)|torch(\.\w+)+\._[a-z]|from torch[\w.]*\._|import _\w+Nd|\b_ConvNd"
    r"|[a-z]\w*\._(parameters|buffers|modules)\b|\._overloadpacket|aten\._"
)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a torch that has none of it."""
    monkeypatch.setattr(torch_private, "private", lambda name: None)


def test_what_a_new_torch_takes_away() -> None:
    """Nothing breaks then, but something is slower: a public way stands in. Find the new name, or drop the old one."""
    gone = torch_private.missing()
    assert not gone, f"torch {torch.__version__} has no {', '.join(gone)}, or it is called otherwise"


def test_torchs_private_names_stand_in_one_file() -> None:
    files = [*(ROOT / "mmbench").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    found = {str(file.relative_to(ROOT)): NAMED.findall(file.read_text(encoding="utf-8")) for file in files}
    assert [file for file, names in found.items() if names] == ["mmbench/api/torch_private.py"]


def test_what_is_called_otherwise_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(*, tensors: list[Tensor]) -> None: ...

    monkeypatch.setattr(torch, "_fused_adamw_", other)
    monkeypatch.delattr(torch, "_foreach_add_")
    torch_private.private.cache_clear()
    try:
        assert torch_private.missing() == ["_fused_adamw_", "_foreach_add_"]
        steps = [torch.tensor(1.0), torch.tensor(5.0)]
        torch_private.count(steps)
        assert steps == [2.0, 6.0]
    finally:
        monkeypatch.undo()
        torch_private.private.cache_clear()


def active(x: Tensor) -> list[bool]:
    found: list[bool] = []

    def look(y: Tensor) -> Tensor:
        found.append(torch_private.transforms_active())
        return y.sum()

    look(x)
    vmap(look)(x)
    grad(look)(x)
    vmap(grad(look))(x)
    vmap(lambda _: look(torch.ones(2)))(x)  # nothing that it sees is transformed
    look(x)
    return found


def test_transforms_are_seen() -> None:
    assert active(torch.ones(3, 2)) == [False, True, True, True, True, False]


@pytest.mark.usefixtures("without")
def test_transforms_are_seen_without_asking() -> None:
    assert active(torch.ones(3, 2)) == [False, True, True, True, True, False]


class Tied(nn.Module):
    """Two layers of one weight, and two buffers of which one is replaced."""

    mean: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(3, 3), nn.Linear(3, 3)
        self.other.weight = self.one.weight
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("count", torch.zeros(()))

    def run(self, x: Tensor) -> Tensor:
        self.count.add_(1)
        self.mean = self.mean + x.mean(0)
        out: Tensor = self.other(self.one(x)) - self.mean
        return out


def called() -> tuple[Tensor, dict[str, Any], list[Tensor], Tied]:
    torch.manual_seed(0)
    model = Tied()
    places = torch_private.Places(model)
    held: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    tensors = [torch.randn_like(held[name]) for name in places.names]
    result, changed = places.call(tensors, model.run, torch.ones(2, 3))
    return result, changed, tensors, model


def test_a_model_holds_others_tensors_for_a_while() -> None:
    result, changed, tensors, model = called()
    weight, one, other, mean, _ = tensors
    assert list(changed) == ["mean"]
    torch.testing.assert_close(changed["mean"], mean + 1)
    torch.testing.assert_close(result, (torch.ones(2, 3) @ weight.T + one) @ weight.T + other - mean - 1)
    assert model.other.weight is model.one.weight
    assert not torch.equal(model.one.weight, weight)
    assert model.get_buffer("count") == 0
    assert torch.equal(model.get_buffer("mean"), torch.zeros(3))


def test_a_model_holds_others_tensors_the_public_way_too(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = called()
    monkeypatch.setattr(torch_private, "private", lambda name: None)
    result, changed, tensors, model = called()
    assert torch.equal(result, expected[0])
    assert changed.keys() == expected[1].keys()
    assert torch.equal(changed["mean"], expected[1]["mean"])
    assert all(map(torch.equal, tensors, expected[2])), "what changes in place is changed in what was given"
    assert all(map(torch.equal, model.state_dict().values(), expected[3].state_dict().values()))


def test_hooks_on_gradients_are_seen() -> None:
    one, other = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    assert not torch_private.hooked(one)
    one.register_hook(lambda gradient: gradient)
    other.register_post_accumulate_grad_hook(lambda tensor: None)
    assert torch_private.hooked(one)
    assert torch_private.hooked(other)


def test_the_hooks_of_a_module_are_all_known() -> None:
    """What a module has and we don't know would be compared as a setting, numbers that differ always included."""
    kept = {name for name, value in vars(nn.Linear(1, 1)).items() if isinstance(value, dict)}
    assert kept == {*torch_private.HOOKS, *torch_private.REGISTERED}


def operations(formulas: dict[Any, Any]) -> int:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    with torch_private.flop_counter(formulas) as counter:
        layer(torch.ones(3, 4)).sum().backward()
        torch.mv(torch.ones(5, 4), torch.ones(4))
    return int(counter.total)


def test_operations_are_counted_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    vector = torch_private.kernels("mv", "no_such_kernel")
    assert list(vector) == ["mv"]
    formulas = {vector["mv"]: lambda matrix, other, *args, **kwargs: 2 * matrix[0] * matrix[1]}
    expected = operations(formulas)
    assert expected > operations({}) > 0
    monkeypatch.setattr(torch_private, "private", lambda name: None)
    assert operations(formulas) == expected
