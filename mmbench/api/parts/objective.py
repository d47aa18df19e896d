"""Objectives: the training signal beyond the task's loss."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from mmbench.api.parts.features import FeatureSpec
from mmbench.api.parts.part import Part
from mmbench.api.space import Params

if TYPE_CHECKING:
    from torch import nn


class Objective(Part):
    """The training signal beyond the task's loss.

    `build` gives a module, which may own parameters, with any of these methods:

        on_start(target) -> None                               before the first epoch: the truth of all train rows, as
                                                               the head encodes it; for counts and the like
        on_features(features, generator) -> features          before fusion, in training only
        task_loss(fused, target) -> scalar                     in place of the head's loss, or the fusion's own
        loss(features, fused, target) -> {name: scalar}        added to the task's loss
        on_gradients(gradients, features, fused, target, generator) -> gradients
                                                               {parameter name: tensor}; an encoder's names
                                                               begin with "encoders.MODALITY."
        encoder_steps(features, fused, target) -> {modality: scalar}
                                                               what the step of an encoder is multiplied by, whatever
                                                               the optimizer; called before the step
        on_epoch(epoch: Epoch) -> None

    `features` are the encoders' outputs for the batch. `outputs` is the number of outputs of the task.
    Write them without in-place changes, so that many trials can train in one program; one that can't says
    `cohort = False` and trains one by one.
    """

    role = "objective"
    cohort: ClassVar[bool] = True

    def build(self, inputs: Mapping[str, FeatureSpec], outputs: int, params: Params) -> "nn.Module":
        raise NotImplementedError
