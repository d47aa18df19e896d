"""Dropout that draws for several calls at once: its shares, its gradients, and that no chance comes twice."""

import pytest
import torch
from torch import nn

from mmbench.engine.learn.dropout import Dropout
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


def test_dropout_takes_the_place_of_torchs() -> None:
    net = nn.Sequential(nn.Dropout(0.25), nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)), nn.AlphaDropout(0.1))
    put_in(net)
    kinds = [type(module) for module in net.modules()]
    assert kinds.count(Dropout) == 2
    assert nn.AlphaDropout in kinds
    assert not net.state_dict().keys() - {"1.0.weight", "1.0.bias"}, "stored weights would need other names"
