"""Several objectives at once, as one module that answers the hooks that any of them has. Used by `model.assemble`."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from torch import Tensor, nn

from mmbench.api.parts import Epoch, Features, Fused

HOOKS = ("on_features", "loss", "on_gradients", "on_epoch")


def joined(objectives: Mapping[str, nn.Module]) -> nn.Module:
    """One module of all: features and gradients pass from one to the next in the order given, the terms of their losses
    are added up. A lone one is left as it is."""
    if len(objectives) == 1:
        return next(iter(objectives.values()))
    hooks = frozenset(hook for module in objectives.values() for hook in HOOKS if hasattr(module, hook))
    module: nn.Module = _kind(hooks)(objectives)
    return module


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
