"""Rules of the compressors' contract can fail: one that is broken in one place meets them."""

from typing import Any, ClassVar

import pytest
import torch

import mmbench as mb
from mmbench.testing.compressor import CompressorContract


class Broken(mb.Compressor):
    """Rounds weights, and is broken in one place."""

    name = "broken"
    how: ClassVar[str] = ""

    def compress(self, model: Any, params: Any) -> Any:
        for weight in model.parameters():
            weight.copy_((weight * 64).round() / 64)
        if self.how == "zero":
            for weight in model.parameters():
                weight.zero_()
        if self.how == "nan":
            next(model.parameters()).fill_(float("nan"))
        if self.how == "narrow":
            model.head.register_forward_hook(lambda m, a, fused: mb.Fused(logits=fused.logits.half()))
        if self.how == "random":
            next(model.fusion.parameters()).add_(torch.rand(()))
        if self.how == "meet":
            model.head.register_forward_hook(lambda m, a, fused: mb.Fused(logits=fused.logits - fused.logits.mean(0)))
        if self.how == "bare":
            del model.encoders["left"]
        return model


@pytest.mark.parametrize(
    ("how", "rule", "message"),
    [
        ("zero", "test_keeps_what_was_learned", "accuracy"),
        ("nan", "test_settings", "not finite"),
        ("narrow", "test_settings", "widen them"),
        ("random", "test_same_again", "two compressions differ"),
        ("meet", "test_rows_do_not_matter_to_each_other", "not close"),
        ("bare", "test_has_weights", "an encoder is gone"),
    ],
)
def test_a_compressor_that_is_broken_in_one_place(how: str, rule: str, message: str) -> None:
    class Part(Broken):
        pass

    class Contract(CompressorContract):
        part = Part

    getattr(Contract(), rule)()  # whole it passes
    Part.how = how
    with pytest.raises(AssertionError, match=message):
        getattr(Contract(), rule)()
