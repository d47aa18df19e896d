"""Modules of `mmbench_fusion.generative.variational`; equations and the handling of missing modalities stand there."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmbench.api.parts import Features, FeatureSpec, Fused
from mmbench_fusion.modules.generative.split import row_mean
from mmbench_fusion.modules.layers import Projections

LIMIT = 6.0
"""How far a log variance may be from 0: beyond, its exponential is of no use to anyone."""


class Mvae(nn.Module):
    reconstruction: Tensor
    kl: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, reconstruction: float, kl: float):
        super().__init__()
        self.encode = Projections(inputs, 2 * width)
        self.hidden = nn.Linear(width, width)
        self.decode = nn.ModuleDict({m: nn.Linear(width, inputs[m].width) for m in self.encode.names})
        self.register_buffer("reconstruction", torch.tensor(float(reconstruction)), persistent=False)
        self.register_buffer("kl", torch.tensor(float(kl)), persistent=False)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        said, present = self.encode(features)
        mean, variance = multiplied(said.float(), present)
        latent = drawn(mean, variance, self.training).to(said.dtype)
        if not self.training:  # what only the losses need is no cost of a prediction
            return Fused(latent)
        errors, costs = [self._error(latent, features)], [divergence(mean, variance)]
        for index in range(present.shape[1]):
            only = torch.arange(present.shape[1], device=present.device) == index
            own, spread = multiplied(said.float(), present & only)
            error = self._error(drawn(own, spread, draw=True).to(said.dtype), features)[:, index]
            errors.append(error.unsqueeze(1))
            costs.append(divergence(own, spread))
        extras = {"errors": errors, "costs": costs, "present": present}
        return Fused(latent, extras=extras)

    def _error(self, latent: Tensor, features: Mapping[str, Features]) -> Tensor:
        """How far each modality is from what is made of a latent, [B, M]."""
        hidden = F.gelu(self.hidden(latent))
        return torch.stack([error(self.decode[m](hidden), features[m]) for m in self.encode.names], dim=1)

    def loss(self, fused: Fused, target: Tensor) -> dict[str, Tensor]:
        present = fused.extras["present"]
        (joint, *alone), (cost, *costs) = fused.extras["errors"], fused.extras["costs"]
        wrong = row_mean(joint.flatten(), present.flatten())
        wrong = wrong + row_mean(torch.cat(alone, dim=1).flatten(), present.flatten())
        far = cost.mean() + row_mean(torch.stack(costs, dim=1).flatten(), present.flatten())
        return {"reconstruction": self.reconstruction * wrong, "kl": self.kl * far}


class Dmvae(nn.Module):
    reconstruction: Tensor
    kl: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], width: int, size: int, reconstruction: float, kl: float):
        super().__init__()
        self.width, self.size = width, size
        self.encode = Projections(inputs, 2 * width + 2 * size)
        self.decode = nn.ModuleDict(
            {
                m: nn.Sequential(nn.Linear(width + size, width), nn.GELU(), nn.Linear(width, inputs[m].width))
                for m in self.encode.names
            }
        )
        self.join = nn.Linear(width + len(inputs) * size, width)
        self.register_buffer("reconstruction", torch.tensor(float(reconstruction)), persistent=False)
        self.register_buffer("kl", torch.tensor(float(kl)), persistent=False)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        said, present = self.encode(features)
        shared, private = said.float().split([2 * self.width, 2 * self.size], dim=-1)
        mean, variance = multiplied(shared, present)
        own, spread = private.chunk(2, dim=-1)
        spread = bounded(spread)
        latent = drawn(mean, variance, self.training).to(said.dtype)
        secrets = drawn(own, spread.exp(), self.training).to(said.dtype) * present.unsqueeze(-1)
        vector = self.join(torch.cat([latent, secrets.flatten(1)], dim=1))
        if not self.training:
            return Fused(vector)
        errors, rows = [self._error(latent, secrets, features)], [present]
        for index in range(present.shape[1]):
            only = torch.arange(present.shape[1], device=present.device) == index
            told = drawn(*multiplied(shared, present & only), draw=True).to(said.dtype)
            errors.append(self._error(told, secrets, features))
            rows.append(present & present[:, index : index + 1])
        extras = {
            "errors": (errors[0], torch.stack(errors[1:])),
            "rows": (rows[0], torch.stack(rows[1:])),
            "costs": (divergence(mean, variance), divergence(own, spread.exp())),
        }
        return Fused(vector, extras=extras)

    def _error(self, shared: Tensor, secrets: Tensor, features: Mapping[str, Features]) -> Tensor:
        pairs = zip(self.encode.names, secrets.unbind(1), strict=True)
        return torch.stack(
            [error(self.decode[m](torch.cat([shared, secret], dim=1)), features[m]) for m, secret in pairs], dim=1
        )

    def loss(self, fused: Fused, target: Tensor) -> dict[str, Tensor]:
        pairs = zip(fused.extras["errors"], fused.extras["rows"], strict=True)
        wrong = [row_mean(errors.flatten(), rows.flatten()) for errors, rows in pairs]
        joint, private = fused.extras["costs"]
        far = joint.mean() + row_mean(private.flatten(), fused.extras["rows"][0].flatten())
        return {"reconstruction": self.reconstruction * (wrong[0] + wrong[1]), "kl": self.kl * far}


def multiplied(said: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance [B, N] of the product of the present Gaussians and N(0, 1); said [B, M, 2 N]: mean, log var."""
    mean, spread = said.chunk(2, dim=-1)
    precision = torch.exp(-bounded(spread)) * present.unsqueeze(-1)
    total = 1 + precision.sum(1)
    return (precision * mean).sum(1) / total, 1 / total


def bounded(spread: Tensor) -> Tensor:
    """A log variance within LIMIT of 0."""
    return LIMIT * torch.tanh(spread / LIMIT)


def drawn(mean: Tensor, variance: Tensor, draw: bool) -> Tensor:
    """Mean and noise of that variance, or the mean alone."""
    return mean + variance.sqrt() * torch.randn_like(mean) if draw else mean


def divergence(mean: Tensor, variance: Tensor) -> Tensor:
    """KL from N(0, 1), its mean over the last dimension."""
    return (mean.square() + variance - 1 - variance.log()).mean(-1) / 2


def error(made: Tensor, features: Features) -> Tensor:
    """The mean square of what is wrong with a row, [B]."""
    return (made - features.pooled.detach()).float().square().mean(1)
