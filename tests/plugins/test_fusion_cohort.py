"""What a cohort or a GPU needs of the built-in fusions and objectives, beyond the contract."""

from typing import Any

import pytest
import torch
from mmbench_fusion import mmbench_fusions
from mmbench_objective import mmbench_objectives
from mmbench_objective.balance import ModalityDropout, OgmGe
from torch import Tensor, nn
from torch.func import functional_call, vmap

import mmbench as mb
from mmbench.api.space import Float, defaults
from mmbench.testing.rules.features import INPUTS, some, without

FUSIONS = [part for part in mmbench_fusions() if part.level != "estimator"]
OBJECTIVES = mmbench_objectives()


def inputs_of(part: type[mb.Fusion] | type[mb.Objective]) -> dict[str, mb.FeatureSpec]:
    return dict(list(INPUTS.items())[: 2 if part.name == "dot" else 3])


def state(module: nn.Module) -> dict[str, Tensor]:
    """All that a cohort can stack: parameters and buffers."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


@pytest.mark.parametrize("part", [*FUSIONS, *OBJECTIVES], ids=lambda part: part.name)
def test_settings_that_change_no_shape_are_in_the_state(part: Any) -> None:
    """A Python float would be shared by the whole cohort: trials would run with another trial's setting."""
    for name, parameter in part.space.items():
        if not isinstance(parameter, Float) or name == "dropout":  # the engine makes a tensor of that one
            continue
        assert not parameter.structural
        made = []
        for value in (parameter.low, parameter.high):
            torch.manual_seed(0)
            made.append(state(part().build(inputs_of(part), 4, {**defaults(part.space), name: value})))
        low, high = made
        assert {k: v.shape for k, v in low.items()} == {k: v.shape for k, v in high.items()}
        assert any(not torch.equal(low[k], high[k]) for k in low), f"{name} is in no parameter or buffer"


@pytest.mark.parametrize("part", FUSIONS, ids=lambda part: part.name)
def test_fusions_in_half_precision(part: type[mb.Fusion]) -> None:
    """On a GPU the engine trains under autocast: no dtype may clash, and the gradients stay finite."""
    torch.manual_seed(0)
    features = without(some(inputs_of(part), 9), "text", slice(0, 3))
    features = {m: mb.Features(f.tokens.bfloat16(), f.mask) for m, f in features.items()}
    module: Any = part().build(inputs_of(part), 8, defaults(part.space)).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = module(features)
        fused = made if isinstance(made, mb.Fused) else mb.Fused(vector=made)
        out = fused.logits if fused.vector is None else fused.vector
        assert out is not None
        terms = module.loss(fused, torch.arange(9) % 8) if hasattr(module, "loss") else {}
    torch.stack([out.float().square().sum(), *terms.values()]).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("part", OBJECTIVES, ids=lambda part: part.name)
def test_objectives_in_half_precision(part: type[mb.Objective]) -> None:
    torch.manual_seed(0)
    features = without(some(INPUTS, 9), "text", slice(0, 3))
    features = {m: mb.Features(f.tokens.bfloat16(), f.mask) for m, f in features.items()}
    module: Any = part().build(INPUTS, 4, defaults(part.space)).train()
    generator, target = torch.Generator().manual_seed(0), torch.arange(9) % 4
    fused = mb.Fused(logits=torch.randn(9, 4).bfloat16())
    if hasattr(module, "loss"):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            terms = module.loss(features, fused, target)
        assert all(term.dtype == torch.float32 and term.isfinite() for term in terms.values())
    if hasattr(module, "on_gradients"):  # the engine calls it outside of autocast
        given = {f"encoders.{m}.weight": torch.randn(3, 3) for m in INPUTS}
        found = module.on_gradients(given, features, fused, target, generator)
        assert all(gradient.dtype == torch.float32 for gradient in found.values())
    if hasattr(module, "on_features"):
        assert all(f.tokens.dtype == torch.bfloat16 for f in module.on_features(features, generator).values())


def test_ogm_ge_modulates_a_cohort() -> None:
    features, target = some(INPUTS, 8), torch.arange(8) % 4
    modules = []
    for seed, alpha in enumerate((0.1, 0.9)):
        torch.manual_seed(seed)
        modules.append(OgmGe().build(INPUTS, 4, {"alpha": alpha, "noise": 0.0}))
    stacked = {k: torch.stack([state(m)[k].detach() for m in modules]) for k in state(modules[0])}
    gradients = torch.randn(2, 3, 3)
    generator = torch.Generator().manual_seed(0)

    def modulated(states: dict[str, Tensor], gradient: Tensor) -> Tensor:
        given = {f"encoders.{m}.weight": gradient for m in INPUTS}
        found = functional_call(Calls(modules[0]), prefixed(states), (given, features, target, generator))
        return torch.stack([found[name] for name in given])

    found = vmap(modulated, randomness="different")(stacked, gradients)
    for number, module in enumerate(modules):
        given = {f"encoders.{m}.weight": gradients[number] for m in INPUTS}
        expected = module.on_gradients(given, features, mb.Fused(), target, generator)
        torch.testing.assert_close(found[number], torch.stack([expected[name] for name in given]))


class Calls(nn.Module):
    """`on_gradients` as a module's forward, as `functional_call` wants it."""

    def __init__(self, module: Any):
        super().__init__()
        self.module = module

    def forward(self, gradients: Any, features: Any, target: Tensor, generator: torch.Generator) -> Any:
        return self.module.on_gradients(gradients, features, mb.Fused(), target, generator)


def prefixed(states: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{name}": tensor for name, tensor in states.items()}


def test_modality_dropout_drops_differently_for_each_of_a_cohort() -> None:
    module, features = ModalityDropout().build(INPUTS, 4, {"p": 0.3}), some(INPUTS, 2000)
    generator = torch.Generator().manual_seed(0)

    def present(p: Tensor) -> Tensor:
        found = functional_call(Drops(module), {"module.p": p}, (features, generator))
        return torch.stack([found[m].present for m in sorted(found)])

    found = vmap(present, randomness="different")(torch.tensor([0.1, 0.6]))
    shares = found.float().mean((1, 2)).tolist()
    assert shares == pytest.approx([1 - p + p**3 / 3 for p in (0.1, 0.6)], abs=0.03)


class Drops(nn.Module):
    def __init__(self, module: Any):
        super().__init__()
        self.module = module

    def forward(self, features: Any, generator: torch.Generator) -> Any:
        return self.module.on_features(features, generator)
