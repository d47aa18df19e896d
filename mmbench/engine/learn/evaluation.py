"""Evaluation leaves a model as it was, and what is tested is what would be stored.

A part that changes its weights or buffers while it predicts learns from rows that it is to be judged by; what it keeps
outside of them would be lost with the process. Used by train, cohort, evaluate and measure.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Thread

import torch
from torch import Tensor, nn

from mmbench.engine.learn.model import Batch, Model, kernels
from mmbench.errors import TrainingError, blamed


@contextmanager
def left_as_it_was(model: nn.Module, *, closely: bool = False) -> Iterator[None]:
    """Raises TrainingError if what is done meanwhile changes a parameter or a buffer.

    closely: compare every value, too. Else what writes past torch's own count of changes (`tensor.data`) is not seen.
    """
    watch = Watch(_tensors(model), closely=closely)
    yield
    changed = watch.changed(_tensors(model))
    if changed:
        raise TrainingError(f"evaluation changes {changed}: what is judged must leave no trace in the model")


class Watch:
    """What some named tensors were."""

    def __init__(self, tensors: Mapping[str, Tensor], *, closely: bool = False) -> None:
        self._before = dict(tensors)  # held, so that no other takes its identity
        self._counts = {name: tensor._version for name, tensor in tensors.items()}
        self._values = {name: _digest(tensor) for name, tensor in tensors.items()} if closely else {}

    def changed(self, tensors: Mapping[str, Tensor]) -> str | None:
        """The first that is another, has other values or was written to."""
        for name in {**self._before, **tensors}:
            now = tensors.get(name)
            if now is None or now is not self._before.get(name) or now._version != self._counts[name]:
                return name
            if name in self._values and _digest(now) != self._values[name]:
                return name
        return None


def _digest(tensor: Tensor) -> bytes:
    """A hash of its values: a copy would be counted as memory that the model takes."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return hashlib.blake2b(flat.view(torch.uint8).numpy().data).digest()


def loaded_from(model: nn.Module, fresh: nn.Module) -> nn.Module:
    """`fresh`, with the weights and buffers of `model`: what else `model` holds is not in it.

    Raises TrainingError if they don't fit.
    """
    return filled(fresh, model.state_dict())


def filled(fresh: nn.Module, stored: Mapping[str, Tensor]) -> nn.Module:
    """`fresh`, with these weights and buffers. Raises TrainingError if they don't fit."""
    for name, buffer in list(fresh.named_buffers()):
        if name in stored and stored[name].shape != buffer.shape:  # one that grows with what is learned
            owner, _, last = name.rpartition(".")
            setattr(fresh.get_submodule(owner), last, torch.empty_like(stored[name]))
    try:
        fresh.load_state_dict(stored)
    except RuntimeError as error:
        said = " ".join(str(error).split())
        raise TrainingError(f"its weights can't be loaded into a model that is built anew: {said}") from error
    return fresh.eval()


def unobserved(model: Model, batch: Batch) -> Tensor:
    """What the model decides on a thread of its own, whose stack doesn't tell who asks."""
    found: list[Tensor | Exception] = []
    thread = Thread(target=_decide, args=(model, batch, found))
    thread.start()
    thread.join()
    if isinstance(found[0], Exception):
        raise TrainingError(f"on a thread, where nobody measures it, it raises {blamed(found[0])}")
    return found[0]


def _decide(model: Model, batch: Batch, found: list[Tensor | Exception]) -> None:
    try:
        with torch.inference_mode(), kernels(model):
            found.append(model(batch))
    except Exception as error:  # a part's own
        found.append(error)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
