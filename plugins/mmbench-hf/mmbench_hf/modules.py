"""The torch modules around a model of the hub: reading it, how it is tuned, and the projection after it."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

import mmbench as mb
from mmbench.errors import DataError, told

UNUSED = ("pooler", "masked_spec_embed", "mask_token", "logit_scale", "logit_bias")
"""What takes no part in the last hidden states: heads on the first token, and what only pretraining puts in."""
OFF = {"layerdrop", "encoder_layerdrop", "decoder_layerdrop", "gradient_checkpointing"}
WITHOUT = {"apply_spec_augment": False, "mask_time_prob": 0.0, "mask_feature_prob": 0.0, "use_cache": False}
"""What a model does by chance beside dropout is left out: SpecAugment draws from NumPy's global generator, and layers
that are dropped make one step's parameters others than the last one's. Checkpointing is a parameter of ours."""


def pretrained(folder: Path, tower: str | None = None) -> nn.Module:
    """The model with its weights in single precision. tower: which one of a model of images and texts is wanted,
    "text" or "vision". Raises DataError if it can't be read, or a weight is missing."""
    from transformers import AutoConfig, AutoModel, logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    progress = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(folder, **local)
        for name in OFF & set(vars(config)):
            setattr(config, name, 0)
        with torch.random.fork_rng(devices=[]):  # what the weights do not say is drawn at random: see below
            found, report = AutoModel.from_pretrained(
                folder, config=config, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **local
            )
    except Exception as error:  # whatever the files make of it
        raise DataError(f"the model in {folder.name!r} can't be read: {told(error)[:300]}") from error
    finally:
        logging.set_verbosity(before)
        if progress:
            logging.enable_progress_bar()
    lacking = sorted(name for name in report["missing_keys"] if not set(name.split(".")) & set(UNUSED))
    if lacking:
        raise DataError(f"the weights in {folder.name!r} lack {lacking[0]!r}: they are of another model")
    for name, value in WITHOUT.items():
        if hasattr(found.config, name):
            setattr(found.config, name, value)
    for module in found.modules():
        if hasattr(module, "_requires_grad"):  # wav2vec2 and its like would have a gradient of the sounds, too
            module._requires_grad = False
    return _tower(found, tower)


def _tower(model: Any, tower: str | None) -> nn.Module:
    """The one of two towers, or the half that reads, with its projection to the space they share as `joint`."""
    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    if tower and hasattr(model, f"{tower}_model"):
        projection = getattr(model, "text_projection" if tower == "text" else "visual_projection", None)
        model = getattr(model, f"{tower}_model")
        if isinstance(projection, nn.Linear):
            model.joint = projection
    return cast(nn.Module, model)


class Network(nn.Module):
    """A model, from its inputs to (tokens [B, T, D], mask [B, T] or None), or one vector a row, (f [B, D], None)."""

    def __init__(self, model: nn.Module, *, tokens: str) -> None:
        super().__init__()
        self.model, self.tokens = model, tokens
        if tokens == "joint" and not hasattr(model, "joint"):
            raise DataError("the model has no projection to a space of images and texts, as CLIP: choose another type")
        if tokens != "joint" and hasattr(model, "joint"):
            del model.joint
        for name, parameter in model.named_parameters():
            if set(name.split(".")) & set(UNUSED) and tokens != "joint":
                parameter.requires_grad_(False)

    def read(self, arrays: Mapping[str, Tensor]) -> tuple[Any, Tensor | None]:
        """What the model gives, and which of its tokens are there."""
        raise NotImplementedError

    def forward(self, arrays: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        given, mask = self.read(arrays)
        if self.tokens == "joint":
            joint: Tensor = cast(nn.Module, self.model.joint)(given.pooler_output)
            return joint, None
        states: Tensor = given.last_hidden_state
        if states.dim() == 4:  # a convolutional network's maps, [B, D, H, W]
            states = states.flatten(2).transpose(1, 2)
        if self.tokens == "first":
            return states[:, 0], None
        if self.tokens == "all":
            return states, mask
        return mb.Features(states, mask).pooled, None


def seen(mask: Tensor) -> Tensor:
    """The mask as the model is given it: a missing value has no step, and is read as if it had all."""
    return (mask | ~mask.any(1, keepdim=True)).long()


class Frozen(nn.Module):
    """{"features": [B, inputs] or [B, T, inputs]} of a frozen model, perhaps with "mask", to tokens of `width`."""

    def __init__(self, inputs: int, *, width: int, dropout: float) -> None:
        super().__init__()
        self.layers = projection(inputs, width=width, dropout=dropout)

    def forward(self, arrays: dict[str, Tensor]) -> mb.Features:
        tokens: Tensor = self.layers(arrays["features"])
        return mb.Features(tokens, arrays.get("mask"))


def projection(inputs: int, *, width: int, dropout: float) -> nn.Sequential:
    """W norm(f) + b."""
    return nn.Sequential(nn.LayerNorm(inputs, elementwise_affine=False), nn.Dropout(dropout), nn.Linear(inputs, width))


class Tuned(nn.Module):
    """A model's inputs to tokens of `width`: the model, which learns, then the projection."""

    def __init__(self, network: Network, layers: nn.Module, rates: Mapping[str, float]) -> None:
        super().__init__()
        self.network, self.layers = network, layers
        self._rates = dict(rates)

    def fixed_rates(self) -> Mapping[str, float]:
        return self._rates

    def forward(self, arrays: dict[str, Tensor]) -> mb.Features:
        tokens, mask = self.network(arrays)
        return mb.Features(self.layers(tokens), mask)


def tuned(network: Network, inputs: int, params: Mapping[str, Any]) -> Tuned:
    """The model as it is to be tuned: which of its weights learn, and how fast."""
    if params["tune"] == "top":
        only_top(network, params["top"])
    elif params["tune"] == "lora":
        network.requires_grad_(False)
        adapt(blocks(network.model), rank=params["rank"], alpha=params["alpha"])
    if params["checkpointing"]:
        checkpoint(network.model)
    after = projection(inputs, width=params["width"], dropout=params["dropout"])
    rates = {"": params["lr"]} if params["layer_decay"] == 1 else decayed(network, params["lr"], params["layer_decay"])
    return Tuned(network, after, {f"network.{name}".rstrip("."): rate for name, rate in rates.items()})


def only_top(network: Network, count: int) -> None:
    """Let the last layers learn, and what comes after them."""
    layers = blocks(network.model)
    place = depths(network, layers)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and place[name] > max(0, len(layers) - count))


def decayed(network: nn.Module, rate: float, decay: float) -> dict[str, float]:
    """{parameter: its learning rate}: that of the last layer and what follows it is `rate`, each layer below has
    `decay` times that of the one above it, and what comes before the first as if it were a layer (Clark et al. 2020,
    arXiv:2003.10555)."""
    layers = blocks(network)
    place = depths(network, layers)
    return {name: rate * decay ** max(0, len(layers) - depth) for name, depth in place.items()}


def blocks(model: nn.Module) -> nn.ModuleList:
    """The model's layers: its largest list of modules. Raises DataError if it has none."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module)]
    if not lists:
        raise DataError("the model has no list of layers: it can only be frozen, or tuned as a whole")
    return max(lists, key=lambda found: sum(parameter.numel() for parameter in found.parameters()))


def depths(network: nn.Module, layers: nn.ModuleList) -> dict[str, int]:
    """{parameter: its layer from 1; 0 before the first, and one more than there are after the last}"""
    place = next(name for name, module in network.named_modules() if module is layers)
    found: dict[str, int] = {}
    depth = 0
    for name, _ in network.named_parameters():
        if name.startswith(f"{place}."):
            depth = 1 + int(name.removeprefix(f"{place}.").partition(".")[0])
            found[name] = depth
        else:
            found[name] = len(layers) + 1 if depth else 0
    return found


class LoRA(nn.Module):
    """y = W x + b + alpha / rank B A x, where W and b rest (Hu et al. 2021, arXiv:2106.09685).

    A is drawn as a dense layer's weights are, B is zero at first, so that training begins where the model is. peft
    computes the same, and may drop out x before A; here nothing is dropped.
    """

    def __init__(self, dense: nn.Linear, *, rank: int, alpha: float) -> None:
        super().__init__()
        self.dense, self.scale = dense, alpha / rank
        self.down = nn.Parameter(torch.empty(rank, dense.in_features))
        self.up = nn.Parameter(torch.zeros(dense.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    @property
    def weight(self) -> Tensor:
        """Models look at it for its type."""
        return self.dense.weight

    @property
    def bias(self) -> Tensor | None:
        return self.dense.bias

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.dense(x) + (x @ self.down.T) @ self.up.T * self.scale
        return found


def adapt(layers: nn.ModuleList, *, rank: int, alpha: float) -> None:
    """Put low-rank updates around every dense layer inside. Raises DataError if there is none."""
    dense = [(name, module) for name, module in layers.named_modules() if type(module) is nn.Linear]
    if not dense:
        raise DataError('the model has no dense layer that LoRA could update: choose tune = "whole" or "top"')
    for name, module in dense:
        owner, _, own = name.rpartition(".")
        setattr(layers.get_submodule(owner), own, LoRA(module, rank=rank, alpha=alpha))


class Dropout(nn.Dropout):
    """torch's, by a class of another name, which the engine leaves alone: its own draws for several steps ahead, and a
    layer that is computed again for its gradient would be given other chances than the first time."""


def checkpoint(model: Any) -> None:
    """Keep no activations inside layers; they are computed again for the gradient."""
    if not getattr(model, "supports_gradient_checkpointing", False):
        raise DataError("checkpointing: the model can't compute its layers again; leave it false")
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = Dropout
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
