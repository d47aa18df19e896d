"""Several objectives at once, as one module that answers the hooks that any of them has. Used by `model.assemble`."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from mmbench.api.parts import Epoch, Features, Fused
from mmbench.errors import SuiteError

HOOKS = ("on_start", "on_features", "task_loss", "loss", "on_gradients", "encoder_steps", "on_epoch")


def joined(objectives: Mapping[str, nn.Module]) -> nn.Module:
    """One module of all: features and gradients pass from one to the next in the order given, the terms of their losses
    are added up. A lone one is left as it is."""
    if len(objectives) == 1:
        return next(iter(objectives.values()))
    in_place = [name for name, module in objectives.items() if hasattr(module, "task_loss")]
    if len(in_place) > 1:
        raise SuiteError(
            f"objective: {' and '.join(in_place)} each take the place of the task's loss: name one of them"
        )
    hooks = frozenset(hook for module in objectives.values() for hook in HOOKS if hasattr(module, hook))
    module: nn.Module = _kind(hooks)(objectives)
    return module


def start(model: Any, target: Tensor) -> None:
    """Let the objective see the encoded truth of the train rows."""
    if hasattr(model.objective, "on_start"):
        model.objective.on_start(target)


def owned(steps: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """{parameter name: what its step is multiplied by}, from the factors of the encoders; the names of no others."""
    found = {}
    for name in names:
        owner, _, rest = name.partition(".")
        modality = rest.partition(".")[0]
        if owner == "encoders" and modality in steps:
            found[name] = steps[modality]
    return found


@contextmanager
def scaled(named: Mapping[str, Tensor], factors: Mapping[str, Tensor]) -> Iterator[None]:
    """What moves these parameters inside moves them `factors` times as far, whatever the optimizer.

    A factor is a scalar, or has a number for each row of its parameter. One on the gradient would be divided out again
    by AdamW and its like.
    """
    before = {name: named[name].detach().clone() for name in factors}
    yield
    with torch.no_grad():
        for name, old in before.items():
            now = named[name]
            factor = factors[name].to(old.dtype).view(-1, *(1,) * (now.dim() - 1)) if now.dim() else factors[name]
            now.copy_(old + factor * (now - old))


def apart(module: nn.Module) -> list[nn.Module]:
    """The objectives that `joined` made one module of."""
    return list(module.each.values()) if isinstance(module, _Joined) else [module]


@cache
def _kind(hooks: frozenset[str]) -> Any:
    """The class that has these hooks and no other: training asks a module whether it has one."""
    return type("Joined", (_Joined,), {hook: getattr(_Joined, f"_{hook}") for hook in hooks})


class _Joined(nn.Module):
    def __init__(self, objectives: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.each = nn.ModuleDict(dict(objectives))

    def _having(self, hook: str) -> dict[str, Any]:
        return {name: module for name, module in self.each.items() if hasattr(module, hook)}

    def _on_features(self, features: Mapping[str, Features], generator: Any) -> Mapping[str, Features]:
        for module in self._having("on_features").values():
            features = module.on_features(features, generator)
        return features

    def _on_start(self, target: Tensor) -> None:
        for module in self._having("on_start").values():
            module.on_start(target)

    def _task_loss(self, fused: Fused, target: Tensor) -> Tensor:
        (module,) = self._having("task_loss").values()
        loss: Tensor = module.task_loss(fused, target)
        return loss

    def _encoder_steps(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for module in self._having("encoder_steps").values():
            for modality, factor in module.encoder_steps(features, fused, target).items():
                found[modality] = found[modality] * factor if modality in found else factor
        return found

    def _loss(self, features: Mapping[str, Features], fused: Fused, target: Tensor) -> dict[str, Tensor]:
        terms = {name: module.loss(features, fused, target) for name, module in self._having("loss").items()}
        return {f"{name}.{term}": value for name, own in terms.items() for term, value in own.items()}

    def _on_gradients(
        self,
        gradients: dict[str, Tensor],
        features: Mapping[str, Features],
        fused: Fused,
        target: Tensor,
        generator: Any,
    ) -> dict[str, Tensor]:
        for module in self._having("on_gradients").values():
            gradients = {**gradients, **module.on_gradients(gradients, features, fused, target, generator)}
        return gradients

    def _on_epoch(self, epoch: Epoch) -> None:
        for module in self._having("on_epoch").values():
            module.on_epoch(epoch)
