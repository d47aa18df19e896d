"""Dropout that draws for several calls at once: its shares, its gradients, and that no chance comes twice."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn

from mmbench.engine.learn.dropout import Chances, Dropout
from mmbench.engine.learn.model import put_in


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_dropout(p: float) -> None:
    torch.manual_seed(0)
    module, x = Dropout(p).train(), torch.ones(999, 101, requires_grad=True)
    out = module(x)
    share = float((out == 0).float().mean())
    assert share == pytest.approx(p, abs=0.005)
    kept = out[out != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - p) if p < 1 else 0.0))
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(gradient, out.detach())
    rows, columns = (out == 0).float().mean(1), (out == 0).float().mean(0)
    assert rows.std() < 0.06  # no pattern along either side
    assert columns.std() < 0.03
    assert torch.equal(module.eval()(x), x)


def test_dropout_of_small_batches_never_uses_a_chance_twice() -> None:
    """They are drawn for many calls at once: batches of any size, over the end of what was drawn."""

    def calls() -> list[torch.Tensor]:
        torch.manual_seed(0)
        module = Dropout(0.3).train()
        return [module(torch.ones(rows, 33)) == 0 for rows in [64, 7, 31] * 40]

    masks = calls()
    flat = torch.cat([mask.flatten() for mask in masks]).float()
    assert float(flat.mean()) == pytest.approx(0.3, abs=0.005)
    full = [mask for mask in masks if len(mask) == 64]
    assert not any(torch.equal(one, other) for i, one in enumerate(full) for other in full[:i])
    centred = flat - flat.mean()
    spectrum = torch.fft.rfft(centred, n=2 * len(centred)).abs().square()
    echo = torch.fft.irfft(spectrum)[1 : len(centred) // 2] / centred.square().sum()
    assert float(echo.abs().max()) < 0.03, "no part of it comes again later"
    assert all(torch.equal(one, other) for one, other in zip(masks, calls(), strict=True))


def test_dropout_under_a_transform_keeps_nothing_of_it() -> None:
    module, x = Dropout(0.5).train(), torch.ones(4, 8)
    torch.func.vmap(module, randomness="different")(torch.ones(3, 4, 8))
    assert (module(x) == 0).any()
    torch.func.vmap(module, randomness="different")(torch.ones(3, 4, 8))


def pickled(module: nn.Module) -> Any:
    return pickle.loads(pickle.dumps(module))  # noqa: S301


def ours(p: float = 0.25, **told: bool) -> nn.Dropout:
    module = nn.Dropout(p, **told)
    put_in(module)
    assert type(module) is Dropout
    return module


def test_dropout_takes_the_place_of_torchs() -> None:
    class Own(nn.Dropout):
        """Somebody's own: left alone."""

    inner = nn.Dropout(0.5)
    net: Any = nn.Sequential(nn.Dropout(0.25), nn.Sequential(inner, inner), nn.AlphaDropout(0.1), Own(0.1))
    put_in(net)
    kinds = [type(module) for module in net.modules()]
    assert kinds.count(Dropout) == 2
    assert {nn.AlphaDropout, Own} < set(kinds)
    assert net[1][0] is net[1][1] is inner, "who held it holds it still"


def test_dropout_is_torchs_to_whoever_looks() -> None:
    theirs, module = nn.Dropout(0.25, inplace=True), ours(0.25, inplace=True)
    assert isinstance(module, nn.Dropout)
    assert (module.p, module.inplace) == (0.25, True)
    assert repr(module) == repr(theirs)
    module(torch.ones(3, 4))
    for one, other in ((module, theirs), (copy.deepcopy(module), theirs), (pickled(module), theirs)):
        assert vars(one).keys() - {"_pool"} == vars(other).keys()
        assert one.state_dict().keys() == other.state_dict().keys()
        assert dict(one.named_buffers()) == {}
        assert (one.p, one.inplace) == (0.25, True)
    x = torch.ones(3, 4)
    assert module(x) is x
    assert all(value in (0.0, pytest.approx(4 / 3)) for value in x.unique().tolist())


def test_copies_draw_chances_of_their_own() -> None:
    module = ours(0.5)
    module(torch.ones(8))
    twin = copy.deepcopy(module)
    assert not torch.equal(module(torch.ones(99)), twin(torch.ones(99)))


def test_p_may_be_changed_at_any_time() -> None:
    """As a schedule does, or a model that reads it for `F.dropout`."""
    module, x = ours(0.0), torch.ones(20, 200)
    shares = []
    for p in (0.0, 0.5, 0.9, 0, 1):
        module.p = p
        out = module(x)
        shares.append(float((out == 0).float().mean()))
        assert p == 1 or float(out.max()) == pytest.approx(1 / (1 - p))
    assert shares == pytest.approx([0.0, 0.5, 0.9, 0.0, 1.0], abs=0.03)
    module.p = 1.5
    with pytest.raises(ValueError, match=r"between 0 and 1, but got 1\.5"):
        module(x)


def test_hooks_and_modes_stay() -> None:
    module, heard = nn.Dropout(0.5).eval(), []
    module.register_forward_hook(lambda *_: heard.append(1))
    put_in(module)
    x = torch.ones(3)
    assert torch.equal(module(x), x)
    assert heard == [1]


@pytest.mark.parametrize("shape", [(), (1,), (3, 1), (2, 0, 5), (2, 3, 4, 5)])
def test_any_shape_and_number_type(shape: tuple[int, ...]) -> None:
    for kind in (torch.float32, torch.float64, torch.bfloat16):
        x = torch.ones(shape, dtype=kind)
        out = ours(0.5)(x)
        assert (out.shape, out.dtype) == (x.shape, kind)


def test_each_member_of_a_cohort_has_its_own_p() -> None:
    modules = [ours(p) for p in (0.0, 0.5, 0.9)]
    chances = Chances([nn.Sequential(module) for module in modules])
    shell: Any = nn.Sequential(modules[0])

    def one(held: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        with chances.held({"0": shell[0]}, held):
            out: torch.Tensor = shell(x)
            return out

    tensors = chances.tensors(torch.device("cpu"))
    out = torch.func.vmap(one, randomness="different")(tensors, torch.ones(3, 50, 100))
    assert (out == 0).float().mean((1, 2)).tolist() == pytest.approx([0.0, 0.5, 0.9], abs=0.03)
    assert out.amax((1, 2)).tolist() == pytest.approx([1, 2, 10])
    assert vars(modules[0]).keys() == vars(ours()).keys()
    assert modules[0].p == 0.0
    same = Chances([nn.Sequential(ours(0.5)) for _ in range(2)])
    assert same.tensors(torch.device("cpu")) == [], "a p that is the same in all stays the number that code reads"
