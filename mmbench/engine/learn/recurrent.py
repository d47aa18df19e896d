"""A narrow GRU that a CPU trains in half to four fifths of torch's time; its parameters and results are the same.

torch's keeps a graph of twenty small operations for each step. Here a step is four, its way back three, and everything
that needs no other step is done for all of them at once. `model.put_in` puts it in; evaluation is left to torch.
"""

from typing import Any

import torch
from torch import Tensor, nn

from mmbench.api.torch_private import transforms_active

WIDEST = 64
"""At 128 the products take so long that torch's is as fast, at 256 it is faster."""


class GRU(nn.GRU):
    """`nn.GRU` (arXiv:1406.1078). What is wide or rare (several layers in one, both directions, a first state, packed
    rows) it leaves to torch."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        """[B, T, inputs] (`batch_first`) or [T, B, inputs] to the states of all steps and the last one, [1, B, H]."""
        if hx is not None or not self._plain(input):
            return super().forward(input, hx)
        steps = input.transpose(0, 1) if self.batch_first else input
        states: Tensor = _Recurrence.apply(
            steps, self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0
        )
        return states.transpose(0, 1) if self.batch_first else states, states[-1:]

    def _plain(self, input: Any) -> bool:
        return (
            isinstance(input, Tensor)
            and (input.dim(), input.shape[-1]) == (3, self.input_size)
            and input.numel() > 0
            and self.training
            and self.hidden_size <= WIDEST
            and torch.is_grad_enabled()
            and input.device.type == "cpu"
            and input.dtype == self.weight_hh_l0.dtype == torch.float32
            and (self.num_layers, self.bidirectional, self.proj_size, self.bias) == (1, False, 0, True)
            and not torch.is_autocast_enabled("cpu")
            and not transforms_active()
        )


class _Recurrence(torch.autograd.Function):
    """x [T, B, D] to h [T, B, H]. Inside, the rows of a batch lie together, so that each gate of a step does.

    r, z = sigmoid(W x + U h + b), n = tanh(W x + b + r (U h + b')), h' = n + z (h - n).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, into: Tensor, over: Tensor, bias_into: Tensor, bias_over: Tensor) -> Tensor:
        steps, batch, _ = x.shape
        h = over.shape[1]
        # Four sums: n's, r's and z's get W x; r's, z's and what r lets through of the state to n get U h.
        weight = torch.cat([into[2 * h :], into[: 2 * h]])
        bias = torch.cat([bias_into[2 * h :], bias_into[: 2 * h] + bias_over[: 2 * h]])
        sums = x.new_empty(steps, 4 * h, batch)
        torch.baddbmm(bias.unsqueeze(1), weight.expand(steps, -1, -1), x.transpose(1, 2), out=sums[:, : 3 * h])
        sums[:, 3 * h :] = bias_over[2 * h :].unsqueeze(1)
        states = x.new_zeros(steps + 1, h, batch)
        new, both, reset, update, given, last3 = (
            sums[:, a * h : b * h].unbind() for a, b in ((0, 1), (1, 3), (1, 2), (2, 3), (3, 4), (1, 4))
        )
        state = states.unbind()
        for t in range(steps):
            last3[t].addmm_(over, state[t])
            both[t].sigmoid_()
            new[t].addcmul_(reset[t], given[t]).tanh_()
            torch.lerp(new[t], state[t], update[t], out=state[t + 1])
        ctx.save_for_backward(x, into, over, bias_into, bias_over, weight, sums, states)
        return states[1:].transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, weight, sums, states = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants the gradient's own gradient: torch's GRU can give it
            return _by_torch(inputs, ctx.needs_input_grad, gradient)
        x, _, over, *_ = inputs
        steps, batch, h = gradient.shape
        new, reset, update, given = sums.view(steps, 4, h, batch).unbind(1)
        before = states[:-1]
        # What each sum gets of its step's gradient: the factors are known before the way back.
        factors, rest = torch.empty_like(sums).view(steps, 4, h, batch), 1 - update
        torch.mul(torch.addcmul(torch.ones(()), new, new, value=-1), rest, out=factors[:, 0])
        torch.mul(factors[:, 0], reset, out=factors[:, 3])
        torch.mul(factors[:, 3] * given, 1 - reset, out=factors[:, 1])
        torch.mul((before - new) * update, rest, out=factors[:, 2])
        total = gradient.transpose(1, 2).clone(memory_format=torch.contiguous_format)
        slopes = torch.empty_like(factors)
        back, state, factor, slope = over.t(), total.unbind(), factors.unbind(), slopes.unbind()
        last3, kept = slopes[:, 1:].flatten(1, 2).unbind(), update.unbind()
        for t in range(steps - 1, -1, -1):
            torch.mul(state[t], factor[t], out=slope[t])
            if t:
                state[t - 1].addmm_(back, last3[t]).addcmul_(state[t], kept[t])
        flat = slopes.view(steps, 4 * h, batch)
        of_input, of_state, bias = flat[:, : 3 * h], flat[:, h:], flat.sum((0, 2))
        into = torch.bmm(of_input, x).sum(0)
        return (
            torch.bmm(of_input.transpose(1, 2), weight.expand(steps, -1, -1)) if ctx.needs_input_grad[0] else None,
            torch.cat([into[h:], into[:h]]),
            torch.bmm(of_state, before.transpose(1, 2)).sum(0),
            torch.cat([bias[h : 3 * h], bias[:h]]),
            bias[h:],
        )


def _by_torch(inputs: list[Tensor], needed: tuple[bool, ...], gradient: Tensor) -> tuple[Tensor | None, ...]:
    x, *weights = inputs
    start = x.new_zeros(1, x.shape[1], weights[1].shape[1])
    states = torch.gru(x, start, weights, True, 1, 0.0, False, False, False)[0]
    wanted = [tensor for tensor, needs in zip(inputs, needed, strict=True) if needs]
    found = iter(torch.autograd.grad(states, wanted, gradient, create_graph=True))
    return tuple(next(found) if needs else None for needs in needed)
