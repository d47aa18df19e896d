"""The module of `mmbench_fusion.memory.stepwise`; the equation and the handling of missing modalities stand there."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmbench.api.parts import Features, FeatureSpec


class MemoryFusion(nn.Module):
    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, size: int, memory: int, dropout: float):
        super().__init__()
        self.names, self.size, self.memory = sorted(inputs), size, memory
        self.cells = nn.ModuleDict({m: nn.Linear(inputs[m].width + size, 4 * size) for m in self.names})
        both = 2 * len(inputs) * size
        self.attend = two_layers(both, memory, both, dropout)
        self.say = two_layers(both, memory, memory, dropout)
        self.keep = two_layers(both, memory, memory, dropout)
        self.take = two_layers(both, memory, memory, dropout)
        self.join = nn.Linear(len(inputs) * size + memory, width)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        given = {m: (features[m].tokens, features[m].mask) for m in self.names}
        zero = given[self.names[0]][0].new_zeros(())
        rows = len(given[self.names[0]][0])
        held = {m: (zero.expand(rows, self.size), zero.expand(rows, self.size)) for m in self.names}
        memory = zero.expand(rows, self.memory)
        for step in range(max(tokens.shape[1] for tokens, _ in given.values())):
            before = [held[m][1] for m in self.names]
            there = [mask[:, step] for _, mask in given.values() if step < mask.shape[1]]
            for m, (tokens, mask) in given.items():
                if step < tokens.shape[1]:
                    held[m] = self._next(m, tokens[:, step], held[m], mask[:, step].unsqueeze(1))
            states = torch.cat([*before, *(held[m][1] for m in self.names)], dim=1)
            seen = self.attend(states).softmax(1) * states
            after = self.keep(seen).sigmoid() * memory + self.take(seen).sigmoid() * self.say(seen).tanh()
            memory = torch.where(torch.stack(there, dim=1).any(1, keepdim=True), after, memory)
        fused: Tensor = self.join(torch.cat([*(held[m][0] for m in self.names), memory], dim=1))
        return fused

    def _next(self, m: str, token: Tensor, held: tuple[Tensor, Tensor], there: Tensor) -> tuple[Tensor, Tensor]:
        """One step of a modality's LSTM where it has a token; what was held elsewhere."""
        output, state = held
        enter, forget, new, leave = self.cells[m](torch.cat([token, output], dim=1)).chunk(4, dim=1)
        moved = forget.sigmoid() * state + enter.sigmoid() * new.tanh()
        said = leave.sigmoid() * moved.tanh()
        return torch.where(there, said, output), torch.where(there, moved, state)


def two_layers(ins: int, hidden: int, outs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(ins, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, outs))
