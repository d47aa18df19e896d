"""What compressors do, against their equations, and on every fusion that is trained."""

from typing import Any

import mmbench_fusion
import pytest
import torch
from mmbench_compressor.half import Half

from mmbench.api.parts import Features, FeatureSpec, Fused, Fusion
from mmbench.api.space import defaults
from mmbench.testing.compressor import learned, logits, rows

TRAINED = [fusion for fusion in mmbench_fusion.mmbench_fusions() if fusion.level != "estimator"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_is_the_rounded_model(dtype: str) -> None:
    """All weights are of that type, and what is decided differs from the model of rounded weights by the rounding of
    what lies between."""
    batch, _ = rows()
    kind, bits = getattr(torch, dtype), {"bfloat16": 8, "float16": 11}[dtype]
    small: Any = Half().compress(learned(), {"dtype": dtype})
    assert {weight.dtype for weight in small.parameters()} == {kind}
    rounded = learned()
    rounded.load_state_dict({name: weight.to(kind).float() for name, weight in rounded.state_dict().items()})
    whole = logits(rounded, batch)
    torch.testing.assert_close(logits(small, batch), whole, rtol=0, atol=8 * 2.0**-bits * float(whole.abs().max()))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("fusion", TRAINED, ids=lambda fusion: fusion.name)
def test_half_of_every_fusion(fusion: type[Fusion], dtype: str) -> None:
    """It runs, and decides about what it decided."""
    torch.manual_seed(0)
    specs = {m: FeatureSpec(width=16, tokens=3) for m in ("left", "right")}
    module = fusion().build(specs, 8, defaults(fusion.space)).eval().requires_grad_(False)
    features = {m: Features(torch.randn(5, 3, 16)) for m in specs}
    module.head, module.encoders = torch.nn.Identity(), torch.nn.ModuleDict()
    before = _decision(module(features))
    Half().compress(module, {"dtype": dtype})
    narrow = {m: Features(f.tokens.to(getattr(torch, dtype))) for m, f in features.items()}
    after = _decision(module(narrow)).float()
    torch.testing.assert_close(after, before, rtol=0.1, atol=0.1 * float(before.abs().max()))


def _decision(found: torch.Tensor | Fused) -> torch.Tensor:
    if isinstance(found, torch.Tensor):
        return found
    return next(v for v in (found.vector, found.logits, found.tokens) if v is not None)
