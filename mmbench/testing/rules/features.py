"""Random features as encoders give them, for the contracts of fusions and objectives."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from mmbench.api.parts import Features, FeatureSpec

INPUTS: Mapping[str, FeatureSpec] = {
    "text": FeatureSpec(width=5, tokens=4),
    "image": FeatureSpec(width=6, tokens=3),
    "number": FeatureSpec(width=4, tokens=1),
}


def some(inputs: Mapping[str, FeatureSpec], rows: int, seed: int = 0) -> dict[str, Features]:
    """Features of `rows` rows with no modality missing; every other row has fewer tokens than the most."""
    made = {}
    for number, (modality, spec) in enumerate(sorted(inputs.items())):
        generator = torch.Generator().manual_seed(1000 * seed + number)
        lengths = torch.randint(1, spec.tokens + 1, (rows, 1), generator=generator)
        lengths[::2] = spec.tokens
        mask = torch.arange(spec.tokens) < lengths
        tokens = torch.randn(rows, spec.tokens, spec.width, generator=generator)
        made[modality] = Features(tokens * mask.unsqueeze(-1), mask)
    return {modality: made[modality] for modality in inputs}


def without(features: Mapping[str, Features], modality: str, rows: Tensor | slice = slice(None)) -> dict[str, Features]:
    """The same features with `modality` missing in `rows`: no token is there, and all are zero."""
    mask = features[modality].mask.clone()
    mask[rows] = False
    gone = Features(features[modality].tokens * mask.unsqueeze(-1), mask)
    return {m: gone if m == modality else f for m, f in features.items()}


def nothing(features: Mapping[str, Features]) -> dict[str, Features]:
    """The same shapes with every modality missing in every row."""
    for modality in features:
        features = without(features, modality)
    return dict(features)


def padded(features: Mapping[str, Features], tokens: int) -> dict[str, Features]:
    """The same features with `tokens` more places that hold nothing."""
    return {
        m: Features(F.pad(f.tokens, (0, 0, 0, tokens)), F.pad(f.mask, (0, tokens), value=False))
        for m, f in features.items()
    }


def rows(features: Mapping[str, Features], chosen: Tensor | Iterable[int]) -> dict[str, Features]:
    """Some rows, in the order given."""
    index = torch.as_tensor(chosen if isinstance(chosen, Tensor) else list(chosen))
    return {m: Features(f.tokens[index], f.mask[index]) for m, f in features.items()}
