"""Modules of `mmbench_objective.strategies`; the equations and the handling of missing modalities stand there."""

from collections.abc import Mapping

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from mmbench.api.parts import Epoch, Features, FeatureSpec, Fused
from mmbench_objective.modules.balance import error, kept
from mmbench_objective.modules.heads import SMALLEST, Heads, logits_of


class ModalityRates(nn.Module):
    rates: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], outputs: int, second: float, third: float, fourth: float):
        super().__init__()
        self.names = sorted(inputs)
        self.register_buffer("rates", torch.tensor([1.0, second, third, fourth]), persistent=False)

    def encoder_steps(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.names, self.rates, strict=False))


def ratios(strengths: Tensor, present: Tensor) -> Tensor:
    """Each strength by the mean of the others, [M]; 1 for what the batch lacks, or where there is nothing beside it."""
    there = present.any(1)
    rest = ((strengths * there).sum() - strengths) / (there.sum() - 1).clamp(min=1)
    compared = there & (rest > 0)
    return torch.where(compared, strengths / torch.where(compared, rest, 1.0), 1.0)


class AGM(Heads):
    alpha: Tensor
    most: Tensor
    mean: Tensor
    count: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], outputs: int, alpha: float, most: float):
        super().__init__(inputs, outputs, alpha=alpha, most=most)
        self.register_buffer("mean", torch.zeros(len(inputs)), persistent=False)
        self.register_buffer("count", torch.zeros(()), persistent=False)

    def loss(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        return {"heads": self.errors(self.scores(features, stopped=True), target, self.present(features)).sum()}

    def encoder_steps(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        present = self.present(features)
        there = present.any(1)
        strengths = -self.errors(self.scores(features, stopped=True), target, present) * there
        rest = (strengths.sum() - strengths) / (there.sum() - 1).clamp(min=1)
        leads = torch.where(there & (there.sum() > 1), (strengths - rest).clamp(-10, 10).exp(), 1.0)
        self.count = self.count + 1
        self.mean = self.mean + (leads - self.mean) / self.count
        factors = torch.exp(-self.alpha * (leads - self.mean))
        return dict(zip(self.names, torch.minimum(factors, self.most), strict=True))


class PMR(nn.Module):
    alpha: Tensor
    mu: Tensor
    momentum: Tensor
    seen: Tensor
    begins: Tensor

    def __init__(
        self,
        inputs: Mapping[str, FeatureSpec],
        outputs: int,
        alpha: float,
        mu: float,
        momentum: float,
        early: float,
    ):
        super().__init__()
        self.names = sorted(inputs)
        for name, value in {"alpha": alpha, "mu": mu, "momentum": momentum, "early": early}.items():
            self.register_buffer(name, torch.tensor(float(value)), persistent=False)
        self.register_buffer("begins", torch.tensor(float(early > 0)), persistent=False)
        self.register_buffer("seen", torch.zeros(len(inputs), outputs), persistent=False)
        for place, m in enumerate(self.names):
            self.register_buffer(f"prototypes_{place}", torch.zeros(outputs, inputs[m].width), persistent=False)

    def loss(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        present = torch.stack([features[m].present for m in self.names])
        logs = torch.stack([self._close(place, features[m], target) for place, m in enumerate(self.names)])
        rows = present.sum(1).clamp(min=1)
        own = logs.gather(2, target.view(1, -1, 1).expand(len(logs), -1, 1)).squeeze(2)
        with torch.no_grad():
            found = ratios((own.exp() * present).sum(1) / rows, present)
            weak, strong = (1 / found.clamp(min=SMALLEST) - 1).clamp(0, 1), (found - 1).clamp(0, 1)
        drawn = -(own * present).sum(1) / rows
        spread = (-(logs.exp() * logs.clamp(min=-1e4)).sum(2) * present).sum(1) / rows
        return {
            "prototypes": self.alpha * (weak * drawn).sum(),
            "entropy": -self.begins * self.mu * (strong * spread).sum(),
        }

    def on_epoch(self, epoch: Epoch) -> None:
        self.begins.copy_((torch.tensor(epoch.progress) < self.get_buffer("early")).float())

    def _close(self, place: int, features: Features, target: Tensor) -> Tensor:
        """log q_m, [B, C], after the prototypes have taken in the batch."""
        x, name = features.pooled.float(), f"prototypes_{place}"
        prototypes, seen = self.get_buffer(name), self.seen[place]
        with torch.no_grad():
            mine = F.one_hot(target, len(seen)).float() * features.present.unsqueeze(1)
            counts = mine.sum(0)
            means = mine.T @ x / counts.clamp(min=1).unsqueeze(1)
            kept = torch.where(seen > 0, self.momentum, 0.0).unsqueeze(1)
            there = (counts > 0).unsqueeze(1)
            prototypes = torch.where(there, kept * prototypes + (1 - kept) * means, prototypes)
            setattr(self, name, prototypes)
            row = torch.arange(len(self.names), device=seen.device).unsqueeze(1) == place
            self.seen = torch.where(row & (counts > 0), 1.0, self.seen)
        distances = (x.unsqueeze(1) - prototypes).square().sum(2).clamp(min=SMALLEST).sqrt()
        return (-distances).masked_fill(self.seen[place] == 0, -1e4).log_softmax(1)


class Alternating(nn.Module):
    share: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], outputs: int, share: float):
        super().__init__()
        self.names = sorted(inputs)
        self.register_buffer("share", torch.tensor(float(share)), persistent=False)

    def on_features(self, features: Mapping[str, Features], generator: Generator) -> dict[str, Features]:
        present = torch.stack([features[m].present for m in self.names])
        drawn = torch.rand(2, generator=generator, device=present.device)
        turn = (drawn[1] * len(self.names)).long()
        chosen = torch.arange(len(self.names), device=present.device).unsqueeze(1) == turn
        lacks = ~(present & chosen).any(0)
        stays = dict(zip(self.names, (drawn[0] >= self.share) | chosen | lacks, strict=True))
        return {m: kept(f, stays[m]) for m, f in features.items()}


class OPM(Heads):
    base: Tensor
    strength: Tensor
    chances: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], outputs: int, base: float, strength: float):
        super().__init__(inputs, outputs, base=base, strength=strength)
        self.register_buffer("chances", torch.zeros(len(inputs)), persistent=False)

    def on_features(self, features: Mapping[str, Features], generator: Generator) -> dict[str, Features]:
        present = self.present(features)
        drawn = torch.rand(present.shape, generator=generator, device=present.device)
        # A missing modality can't be the last one that a row keeps.
        drawn = torch.where(present, drawn, -1.0)
        stays = (drawn >= self.chances.unsqueeze(1)) | (drawn == drawn.amax(0))
        each = dict(zip(self.names, stays.unbind(0), strict=True))
        return {m: kept(f, each[m]) for m, f in features.items()}

    def loss(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        present = self.present(features)
        with torch.no_grad():
            found = ratios(self.strengths(features, target), present)
            chance = (self.base * (1 + self.strength * torch.tanh(found - 1))).clamp(max=1)
            self.chances = torch.where(found > 1, chance, 0.0)
        return {"heads": self.errors(self.scores(features, stopped=True), target, present).sum()}


class MMPareto(Heads):
    gamma: Tensor

    def loss(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        scores, present = self.scores(features), self.present(features)
        each, task = self.errors(scores, target, present), error(logits_of(fused), target).mean()
        tokens = [features[m].given[0] for m in self.names]
        learning = [x for x in tokens if x.requires_grad]
        terms = {"heads": each.sum()}
        if not learning:
            return terms
        tasks = _slopes(task, learning)
        own = _slopes(each.sum(), learning)
        turned = [
            ((x - x.detach()).float() * self.turn(g, u)).sum() for x, g, u in zip(learning, tasks, own, strict=True)
        ]
        return terms | {"pareto": torch.stack(turned).sum()}

    def turn(self, g: Tensor, u: Tensor) -> Tensor:
        """What is to be added to g + u."""
        apart = (g - u).square().sum()
        best = ((u * (u - g)).sum() / apart.clamp(min=SMALLEST**2)).clamp(0, 1)
        share = torch.where((g * u).sum() < 0, best, 0.5)
        joint = 2 * share * g + 2 * (1 - share) * u
        size = joint.norm()
        factor = torch.where(size > SMALLEST, self.gamma * (g + u).norm() / size.clamp(min=SMALLEST), 1.0)
        return factor * joint - (g + u)


def _slopes(term: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    """The gradients of a term, zero where it does not depend on a tensor."""
    if not term.requires_grad:
        return [torch.zeros_like(x, dtype=torch.float32) for x in tensors]
    found = torch.autograd.grad(term, tensors, retain_graph=True, allow_unused=True)
    return [
        torch.zeros_like(x, dtype=torch.float32) if s is None else s.float()
        for x, s in zip(tensors, found, strict=True)
    ]
