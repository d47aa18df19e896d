"""A plugin for tests of cost: fusions whose parameters, FLOPs, seconds and bytes are known."""

import time
from typing import Any

import mmbench as mb

STEPS, SIZE, LAYERS = 6, 16, 32
NAP, HELD = 0.02, 64 * 2**20


class Plain(mb.Fusion):
    """One dense layer to STEPS x SIZE numbers, what `extra` makes of them, and one to the width."""

    name = "plain"

    def build(self, inputs: Any, width: int, params: Any) -> Any:
        import torch
        from torch import nn

        extra = self.extra()

        class Weighed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first = nn.Linear(sum(spec.width for spec in inputs.values()), STEPS * SIZE)
                self.extra = extra
                self.last = nn.Linear(STEPS * SIZE, width)

            def forward(self, features: Any) -> Any:
                steps = self.first(torch.cat([f.pooled for f in features.values()], 1)).unflatten(1, (STEPS, SIZE))
                return self.last(self.extra(steps).flatten(1))

        return Weighed()

    def extra(self) -> Any:
        from torch import nn

        return nn.Identity()


class Layers(Plain):
    """LAYERS dense layers over all the numbers."""

    name = "layers"
    count = LAYERS

    def extra(self) -> Any:
        from torch import nn

        dense = (nn.Linear(STEPS * SIZE, STEPS * SIZE) for _ in range(self.count))
        return nn.Sequential(nn.Flatten(), *dense)


class TwiceTheLayers(Layers):
    """Twice as many."""

    name = "twice_the_layers"
    count = 2 * LAYERS


class Naps(Plain):
    """Sleeps in each forward pass."""

    name = "naps"

    def extra(self) -> Any:
        from torch import nn

        class Nap(nn.Module):
            def forward(self, steps: Any) -> Any:
                time.sleep(NAP)
                return steps

        return Nap()


class Holds(Plain):
    """Keeps a tensor alive."""

    name = "holds"

    def extra(self) -> Any:
        import torch
        from torch import nn

        class Hold(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("held", torch.ones(HELD, dtype=torch.uint8), persistent=False)

            def forward(self, steps: Any) -> Any:
                return steps

        return Hold()


class Recurs(Plain):
    """A GRU over the steps."""

    name = "recurs"
    kind = "GRU"

    def extra(self) -> Any:
        from torch import nn

        class First(nn.Module):
            def __init__(self, kind: str) -> None:
                super().__init__()
                self.layer = getattr(nn, kind)(SIZE, SIZE, batch_first=True)

            def forward(self, steps: Any) -> Any:
                return self.layer(steps)[0]

        return First(self.kind)


class RecursLonger(Recurs):
    """An LSTM over the steps."""

    name = "recurs_longer"
    kind = "LSTM"


class Attends(Plain):
    """Self-attention among the steps."""

    name = "attends"

    def extra(self) -> Any:
        from torch import nn

        class Attend(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.MultiheadAttention(SIZE, 2, batch_first=True)

            def forward(self, steps: Any) -> Any:
                return self.layer(steps, steps, steps, need_weights=False)[0]

        return Attend()


class Convolves(Plain):
    """A convolution over the steps x numbers, as an image of one channel."""

    name = "convolves"

    def extra(self) -> Any:
        from torch import nn

        return nn.Sequential(nn.Unflatten(1, (1, STEPS)), nn.Conv2d(1, 1, 3, padding=1))


@mb.hookimpl
def mmbench_fusions() -> list[type[mb.Fusion]]:
    return [Plain, Layers, TwiceTheLayers, Naps, Holds, Recurs, RecursLonger, Attends, Convolves]
