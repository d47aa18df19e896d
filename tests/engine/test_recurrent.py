"""Our GRU against torch's: the same states and gradients, and torch's own wherever ours does not reach."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.rnn import pack_padded_sequence

from mmbench.engine.learn.model import put_in, settle
from mmbench.engine.learn.recurrent import GRU, WIDEST, _Recurrence


def pair(inputs: int = 5, width: int = 7, **told: Any) -> tuple[nn.GRU, nn.GRU]:
    """torch's and ours, with the same weights."""
    torch.manual_seed(0)
    theirs, net = nn.GRU(inputs, width, **told), nn.Sequential(nn.GRU(inputs, width, **told))
    net[0].load_state_dict(theirs.state_dict())
    put_in(net)
    ours = net[0]
    assert type(ours) is GRU
    return theirs, ours


def gradients(module: nn.GRU, x: Tensor, judge: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
    x = x.clone().requires_grad_()
    states, last = module(x)
    return [states, last, *torch.autograd.grad(judge(states, last), [x, *module.parameters()])]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(
    ("batch", "steps", "inputs", "width"), [(6, 9, 5, 7), (1, 1, 1, 1), (33, 25, 3, 16), (2, 40, 8, 4)]
)
def test_gru_is_torchs(batch: int, steps: int, inputs: int, width: int, batch_first: bool) -> None:
    theirs, ours = pair(inputs, width, batch_first=batch_first)
    x = torch.randn(*((batch, steps) if batch_first else (steps, batch)), inputs)
    weigh = torch.randn(*x.shape[:2], width)

    def judge(states: Tensor, last: Tensor) -> Tensor:
        return (states * weigh).square().sum() + 3 * last.sum()

    for own, other in zip(gradients(ours, x, judge), gradients(theirs, x, judge), strict=True):
        torch.testing.assert_close(own, other, rtol=2e-5, atol=2e-5)


def test_gru_of_what_no_gradient_is_asked_for() -> None:
    """Neither the rows' nor those of frozen weights; and a second way back through the same states."""
    theirs, ours = pair(batch_first=True)
    x = torch.randn(4, 6, 5)
    for module in (theirs, ours):
        module.weight_ih_l0.requires_grad_(False)
        states = module(x)[0]
        states.mean().backward(retain_graph=True)
        states.mean().backward()
    assert ours.weight_ih_l0.grad is None
    for name in ("weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        torch.testing.assert_close(getattr(ours, name).grad, getattr(theirs, name).grad)


def test_gradients_of_the_grus_gradient() -> None:
    """An objective may punish large gradients."""

    def twice(module: nn.GRU) -> list[Tensor]:
        x = torch.linspace(-1, 1, 60).view(3, 4, 5).requires_grad_()
        (first,) = torch.autograd.grad(module(x)[0].square().sum(), x, create_graph=True)
        return list(torch.autograd.grad(first.square().sum(), [x, *module.parameters()]))

    theirs, ours = pair(batch_first=True)
    for own, other in zip(twice(ours), twice(theirs), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-5)


def test_what_is_wide_or_rare_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("not for this")

    x = torch.randn(4, 6, 5)
    for told in ({"num_layers": 2}, {"bidirectional": True}, {"bias": False}):
        theirs, ours = pair(batch_first=True, **told)
        monkeypatch.setattr(_Recurrence, "forward", never)
        assert torch.equal(ours(x)[0], theirs(x)[0])
    theirs, ours = pair(width=WIDEST + 1, batch_first=True)
    assert torch.equal(ours(x)[0], theirs(x)[0])
    theirs, ours = pair(batch_first=True)
    with pytest.raises(AssertionError, match="not for this"):
        ours(x)
    start = torch.ones(1, 4, 7)
    assert torch.equal(ours(x, start)[0], theirs(x, start)[0])
    packed = pack_padded_sequence(x, torch.tensor([6, 5, 2, 1]), batch_first=True)
    assert torch.equal(ours(packed)[0].data, theirs(packed)[0].data)
    assert torch.equal(ours(x[0])[0], theirs(x[0])[0])
    with torch.no_grad():
        assert torch.equal(ours(x)[0], theirs(x)[0])
    assert torch.equal(ours.double()(x.double())[0], theirs.double()(x.double())[0])
    assert torch.equal(ours.float().eval()(x)[0], theirs.float().eval()(x)[0])
    ours.train()
    functional = [torch.func.grad(lambda rows, module=module: module(rows)[0].sum())(x) for module in (ours, theirs)]
    assert torch.equal(*functional)


def test_bad_rows_are_torchs_to_refuse() -> None:
    _, ours = pair(batch_first=True)
    with pytest.raises((RuntimeError, ValueError), match="input"):
        ours(torch.randn(4, 6, 3))


def test_gru_keeps_its_names_and_moves_by_its_gradients() -> None:
    theirs, ours = pair(batch_first=True)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = torch.randn(8, 5, 5)
    for module in (theirs, ours):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            module(x)[0].square().sum().backward()
            optimizer.step()
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)


def test_gru_is_torchs_to_whoever_looks() -> None:
    class Own(nn.GRU):
        """Somebody's own: left alone."""

    theirs, ours = pair(batch_first=True)
    assert repr(ours) == repr(theirs)
    assert vars(ours).keys() == vars(theirs).keys()
    ours.flatten_parameters()
    x = torch.randn(3, 4, 5)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):  # noqa: S301
        torch.testing.assert_close(twin(x)[0], theirs(x)[0])
        assert len(list(twin.parameters())) == 4
    net = nn.Sequential(Own(2, 2), parametrize.register_parametrization(nn.GRU(2, 2), "weight_ih_l0", nn.Tanh()))
    put_in(net)
    assert not any(type(module) is GRU for module in net.modules())


def test_hooks_on_a_gru_stay_and_weights_may_be_replaced() -> None:
    theirs, net = nn.GRU(5, 7, batch_first=True), nn.Sequential(nn.GRU(5, 7, batch_first=True))
    heard: list[int] = []
    net[0].register_forward_hook(lambda *_: heard.append(1))
    put_in(net)
    ours: Any = net[0]
    prune.l1_unstructured(ours, "weight_hh_l0", amount=0.5)
    theirs.load_state_dict(
        {name.removesuffix("_orig"): w for name, w in ours.state_dict().items() if "mask" not in name}
    )
    prune.l1_unstructured(theirs, "weight_hh_l0", amount=0.5)
    x = torch.randn(3, 4, 5)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0])
    assert heard == [1]


@pytest.mark.parametrize(("device", "kind"), [("cpu", GRU), ("meta", nn.GRU)])
def test_a_model_on_a_cpu_has_our_gru(device: str, kind: type[nn.GRU]) -> None:
    """Elsewhere torch's has a kernel of its own."""
    net: Any = nn.Sequential(nn.ModuleList([nn.GRU(2, 2, batch_first=True)]))
    assert [type(module) for module in settle(net, torch.device(device)).modules() if isinstance(module, nn.GRU)] == [
        kind
    ]
