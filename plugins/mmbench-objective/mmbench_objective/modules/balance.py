"""Modules of `mmbench_objective.balance`; the equations and the handling of missing modalities stand there."""

from collections.abc import Mapping

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from mmbench.api.parts import Features, FeatureSpec, Fused


class OgmGe(nn.Module):
    alpha: Tensor
    noise: Tensor

    def __init__(
        self, inputs: Mapping[str, FeatureSpec], outputs: int, alpha: float, noise: float, scales: str = "gradient"
    ):
        super().__init__()
        self.on_step = scales == "step"
        self.names = sorted(inputs)
        self.heads = nn.ModuleDict({m: nn.Linear(inputs[m].width, outputs) for m in self.names})
        self.register_buffer("alpha", torch.tensor(float(alpha)), persistent=False)
        self.register_buffer("noise", torch.tensor(float(noise)), persistent=False)

    def loss(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        scores, present = self._scores(features)
        each = torch.stack([error(score, target) for score in scores], dim=1) * present
        return {"heads": (each.sum(0) / present.sum(0).clamp(min=1)).sum()}

    def coefficients(self, features: Mapping[str, Features], target: Tensor) -> Tensor:
        """k_m for the modalities in the order of their sorted names, [M]."""
        scores, present = self._scores(features)
        likelihoods = torch.stack([likelihood(score, target) for score in scores], dim=1) * present
        strengths = likelihoods.sum(0) / present.sum(0).clamp(min=1)
        there = present.any(0)
        others = (there.sum() - 1).clamp(min=1)
        rest = (strengths.sum() - strengths) / others
        # Where nobody else is there, or has any likelihood, there is nothing to be balanced with.
        compared = there & (rest > 0)
        ratios = strengths / torch.where(compared, rest, 1.0)
        return torch.where(compared & (ratios > 1), 1 - torch.tanh(self.alpha * ratios), 1.0)

    def on_gradients(
        self,
        gradients: Mapping[str, Tensor],
        features: Mapping[str, Features],
        fused: Fused,
        target: Tensor,
        generator: Generator,
    ) -> dict[str, Tensor]:
        coefficients = self._factors(features, target) if not self.on_step else dict.fromkeys(self.names, 1.0)
        changed = dict(gradients)
        for name, gradient in gradients.items():
            modality = _encoder_of(name)
            if modality in coefficients:
                changed[name] = coefficients[modality] * gradient + self._disturbance(gradient, generator)
        return changed

    def encoder_steps(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        return self._factors(features, target) if self.on_step else {}

    def _factors(self, features: Mapping[str, Features], target: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            return dict(zip(self.names, self.coefficients(features, target), strict=True))

    def _scores(self, features: Mapping[str, Features]) -> tuple[list[Tensor], Tensor]:
        """Each head's outputs [B, outputs], stopping the gradient at the features, and the presence [B, M]."""
        # In float32: a GPU trains the encoders in half precision, the heads are called outside of that too.
        scores = [self.heads[m](features[m].pooled.detach().float()).float() for m in self.names]
        return scores, torch.stack([features[m].present for m in self.names], dim=1)

    def _disturbance(self, gradient: Tensor, generator: Generator) -> Tensor:
        if gradient.ndim < 2:
            return torch.zeros_like(gradient)
        drawn = torch.randn(gradient.shape, generator=generator, device=gradient.device, dtype=gradient.dtype)
        return self.noise * gradient.std(correction=0) * drawn


class ModalityDropout(nn.Module):
    p: Tensor

    def __init__(self, inputs: Mapping[str, FeatureSpec], p: float):
        super().__init__()
        self.names = sorted(inputs)
        self.register_buffer("p", torch.tensor(float(p)), persistent=False)

    def on_features(self, features: Mapping[str, Features], generator: Generator) -> dict[str, Features]:
        present = torch.stack([features[m].present for m in self.names], dim=1)
        drawn = torch.rand(present.shape, generator=generator, device=present.device)
        # A missing modality can't be the last one that a row keeps.
        drawn = torch.where(present, drawn, -1.0)
        keep = (drawn >= self.p) | (drawn == drawn.amax(1, keepdim=True))
        stays = dict(zip(self.names, keep.unbind(1), strict=True))
        return {m: kept(f, stays[m]) for m, f in features.items()}


def kept(features: Features, rows: Tensor) -> Features:
    """The features of these rows; the others look as if they lacked the modality."""
    each = rows.view(-1, 1, 1)
    return Features(
        tokens=features.tokens * each,
        mask=features.mask & rows.unsqueeze(1),
        layers=[layer * each for layer in features.layers],
    )


def likelihood(scores: Tensor, target: Tensor) -> Tensor:
    """How likely the truth is under scores [B, outputs], [B]; the target's type tells the distribution."""
    if target.ndim == 2:
        return torch.where(target > 0.5, scores, -scores).sigmoid().mean(1)
    if target.is_floating_point():
        return torch.exp(-(scores.squeeze(1) - target).square() / 2)
    return scores.softmax(1).gather(1, target.unsqueeze(1)).squeeze(1)


def error(scores: Tensor, target: Tensor) -> Tensor:
    """The loss of each row under scores [B, outputs], [B]."""
    if target.ndim == 2:
        return F.binary_cross_entropy_with_logits(scores, target, reduction="none").mean(1)
    if target.is_floating_point():
        return (scores.squeeze(1) - target).square()
    return F.cross_entropy(scores, target, reduction="none")


def _encoder_of(parameter: str) -> str:
    """The modality whose encoder has the parameter "encoders.MODALITY...."; "" if none has."""
    owner, _, rest = parameter.partition(".")
    return rest.partition(".")[0] if owner == "encoders" else ""
