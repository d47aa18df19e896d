"""How the arrays of each kind go into a model of the hub."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmbench.errors import DataError
from mmbench_hf.modules import Network, pretrained, seen


class Text(Network):
    """{"pieces": [B, T], perhaps "mask": [B, T]}."""

    def __init__(self, folder: Path, *, tokens: str) -> None:
        super().__init__(pretrained(folder, "text"), tokens=tokens)

    def read(self, arrays: Mapping[str, Tensor]) -> tuple[Any, Tensor | None]:
        mask = arrays.get("mask")
        told = {} if mask is None else {"attention_mask": seen(mask)}
        return self.model(input_ids=arrays["pieces"].long(), **told), mask


class Image(Network):
    """{"pixels": uint8 [B, 3, H, W]}, which are scaled and normalised here."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, folder: Path, processor: Any, *, tokens: str) -> None:
        super().__init__(pretrained(folder, "vision"), tokens=tokens)
        self.scale = float(processor.rescale_factor) if processor.do_rescale else 1.0
        normal = processor.image_mean and processor.image_std and processor.do_normalize
        for name, values in (
            ("mean", processor.image_mean if normal else [0.0]),
            ("deviation", processor.image_std if normal else [1.0]),
        ):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(-1, 1, 1), persistent=False)

    def normalised(self, pixels: Tensor) -> Tensor:
        """[..., 3, H, W] as the model's preprocessor makes them."""
        return (pixels.float() * self.scale - self.mean) / self.deviation

    def read(self, arrays: Mapping[str, Tensor]) -> tuple[Any, Tensor | None]:
        return self.model(pixel_values=self.normalised(arrays["pixels"])), None


class Audio(Network):
    """{"values": [B, samples] or [B, frames, bands], perhaps "mask", of samples or frames}."""

    def __init__(self, folder: Path, *, tokens: str) -> None:
        super().__init__(pretrained(folder), tokens=tokens)

    def read(self, arrays: Mapping[str, Tensor]) -> tuple[Any, Tensor | None]:
        model: Any = self.model
        mask = arrays.get("mask")
        told = {} if mask is None else {"attention_mask": seen(mask)}
        found = model(**{model.main_input_name: arrays["values"]}, **told)
        states: Tensor = found.last_hidden_state
        if mask is None or not hasattr(model, "_get_feature_vector_attention_mask"):
            return found, None
        there: Tensor = model._get_feature_vector_attention_mask(states.shape[1], seen(mask))
        return found, there.bool()


class Video(Image):
    """{"frames": uint8 [B, F, 3, H, W]}: a video model reads them together, an image model one by one."""

    def __init__(self, folder: Path, processor: Any, *, tokens: str) -> None:
        super().__init__(folder, processor, tokens=tokens)
        self.whole = hasattr(self.model.config, "num_frames")
        if tokens in ("first", "joint") and not self.whole:
            raise DataError(
                f'tokens = "{tokens}": the model reads pictures, so each frame is a token: choose mean or all'
            )

    def read(self, arrays: Mapping[str, Tensor]) -> tuple[Any, Tensor | None]:
        frames = self.normalised(arrays["frames"])
        if self.whole:
            return self.model(pixel_values=frames), None
        found: Any = self.model(pixel_values=frames.flatten(0, 1))
        states = found.last_hidden_state
        if states.dim() == 4:
            states = states.flatten(2).transpose(1, 2)
        found.last_hidden_state = states.mean(1).unflatten(0, frames.shape[:2])
        return found, None
