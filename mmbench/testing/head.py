"""The contract of a head, as tests: inherit the class, name your part, and pytest runs it all.

from mmbench.testing.head import HeadContract
from my_head import Mine

class TestMine(HeadContract):
    part = Mine
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from mmbench.api.parts import Features, Fused, State
from mmbench.api.parts.head import Head
from mmbench.api.record import pack, unpack
from mmbench.api.space import check_space, defaults
from mmbench.engine.learn.model import Model
from mmbench.testing.rules import features as given
from mmbench.testing.rules import trained
from mmbench.testing.rules.part import Array, leaves, settings, tried

ROWS, WIDTH, TOKENS = 6, 16, 3


class HeadContract:
    """What every head must hold."""

    part: ClassVar[type[Head]]

    def test_describes_itself(self) -> None:
        """Its name is its target's type, it has a docstring and a space that makes sense, and a fusion may fit it."""
        assert self.part.name == self.part.target.type, "a head is found by its target's type"
        assert (self.part.__doc__ or "").strip(), "a docstring: one line of summary, then equation and shapes"
        check_space(self.part.space, self.part.__name__)
        assert isinstance(self._head().example(("a", "b")), self.part.target)
        assert self.part.needs
        assert set(self.part.needs) <= {"tokens", "vector", "logits"}

    def test_state(self) -> None:
        """What it learns of train is numbers, texts and NumPy arrays, and says how many outputs there are."""
        state, _ = self._tried()
        assert isinstance(state["outputs"], int)
        for name, value in state.items():
            assert isinstance(value, np.ndarray) or json.dumps(value), name

    def test_encoded_truth(self) -> None:
        """A row each, numbers, and of a row's own truth alone."""
        head, (state, truth) = self._head(), self._tried()
        encoded = head.encode(state, truth)
        assert len(encoded) == len(truth)
        assert encoded.dtype.kind in "biuf"
        if not head.pairs:
            np.testing.assert_array_equal(head.encode(state, truth[2:4]), encoded[2:4])

    def test_loss(self, need: str) -> None:
        """A finite scalar that can be differentiated, and every parameter learns."""
        module = self._build(need).train()
        loss = self._loss(module, need)
        assert loss.shape == (), f"{tuple(loss.shape)} is no scalar"
        assert loss.isfinite()
        known = {id(parameter) for parameter in module.parameters()}
        hidden = [
            tuple(leaf.shape) for leaf in leaves(loss) if id(leaf) not in known and leaf.shape != self._shape(need)
        ]
        assert not hidden, f"parameters of shape {hidden} are not registered"
        loss.backward()
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, f"{name} takes no part"
            assert parameter.grad.isfinite().all(), f"the gradient of {name} is not finite"

    def test_it_learns(self, need: str) -> None:
        """A hundred steps on what a fusion gave of each row make the loss smaller, its numbers being free."""
        module, fused = self._build(need).train(), self._fused(need)
        weights = [*module.parameters(), self._given(fused, need)]
        optimizer = torch.optim.Adam(weights, lr=0.05)
        losses = []
        for _ in range(100):
            optimizer.zero_grad()
            loss = self._loss(module, need, fused)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.7 * losses[0], f"{losses[0]:.3f} becomes {losses[-1]:.3f}"

    def test_predictions(self, need: str) -> None:
        """A row each, the same twice, of a row's own result alone; metrics score what `decode` makes of them."""
        head, (state, truth), module = self._head(), self._tried(), self._build(need).eval()
        with torch.inference_mode():
            whole = self._predict(module, need)
            if not head.pairs:
                assert len(whole) == ROWS
                assert torch.equal(whole, self._predict(module, need)), "evaluation draws at random"
                alone = self._predict(module, need, rows=[2])
                torch.testing.assert_close(alone, whole[2:3], rtol=1e-4, atol=1e-5)
        decoded = head.decode(state, whole.numpy())
        assert decoded.dtype.kind == head.guess(truth, None).dtype.kind, "guess gives another kind of prediction"
        assert decoded.shape[1:] == head.guess(truth, None).shape[1:] or head.pairs

    def test_what_is_stored_comes_back(self) -> None:
        """Truth and predictions are numbers or texts: they are kept as such, never as pickles."""
        head, (_, truth) = self._head(), self._tried()
        for array in (truth, head.guess(truth, None), head.guess(truth, np.random.default_rng(0))):
            (again,) = unpack(pack({"test": array})).values()
            np.testing.assert_array_equal(again, array)

    def test_every_setting_works(self, need: str) -> None:
        for params in settings(self.part.space, 5):
            torch.manual_seed(0)
            module = self._head().build(self._tried()[0], None if need == "logits" else WIDTH, 0.1, params)
            assert self._loss(module, need).isfinite(), params

    def test_state_dict_round_trips(self, need: str) -> None:
        """Weights are stored as safetensors, and predict the same in another module."""
        module, again = self._build(need).eval(), self._build(need, seed=1).eval()
        again.load_state_dict(load(save(module.state_dict())) if module.state_dict() else {})
        with torch.inference_mode():
            torch.testing.assert_close(self._predict(again, need), self._predict(module, need), rtol=0, atol=0)

    def test_trains_in_a_cohort(self, need: str) -> None:
        """Many configurations train in one program, each as it would alone, unless `cohort = False`."""
        if not self.part.cohort:
            pytest.skip("the part says cohort = False")
        trained.assert_trains_as_alone(*self._to_train(need))

    def test_training_ends_in_a_state_dict(self, need: str) -> None:
        """What a training leaves is in `state_dict()`, as weights are stored and loaded; evaluation changes nothing."""
        trained.assert_state_is_all(*self._to_train(need))

    def _to_train(self, need: str) -> trained.Lot:
        state, truth = tried(self._head(), tuple(given.INPUTS), trained.ROWS)
        width = None if need == "logits" else WIDTH

        def build(seed: int) -> Model:
            torch.manual_seed(seed)
            encoders = {m: trained.Projection(spec) for m, spec in given.INPUTS.items()}
            fusion = trained.Concatenation(given.INPUTS, width or state["outputs"])
            return trained.built(encoders, fusion, self._head(), state, width=width)

        return build, trained.inputs_of(given.INPUTS, self._head().encode(state, truth))

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "need" in metafunc.fixturenames:
            metafunc.parametrize("need", self.part.needs)

    def _head(self) -> Head:
        return self.part()

    def _tried(self) -> tuple[State, Array]:
        return tried(self._head(), tuple(given.INPUTS), ROWS)

    def _build(self, need: str, *, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        width = None if need == "logits" else WIDTH
        module = self._head().build(self._tried()[0], width, 0.0, defaults(self.part.space))
        assert isinstance(module, nn.Module), f"build gives {type(module).__name__}, not a module"
        return module

    def _shape(self, need: str) -> tuple[int, ...]:
        outputs = self._tried()[0]["outputs"]
        rows = ROWS**2 if self.part.pairs else ROWS
        return {"vector": (rows, WIDTH), "tokens": (rows, TOKENS, WIDTH), "logits": (rows, outputs)}[need]

    def _fused(self, need: str) -> Fused:
        """What a fusion might give, its numbers gathering gradients."""
        drawn = torch.randn(self._shape(need), generator=torch.Generator().manual_seed(1)).requires_grad_()
        fused = Fused(vector=drawn[:, 0]) if need == "tokens" else Fused()
        setattr(fused, need, drawn)
        return fused

    def _given(self, fused: Fused, need: str) -> Tensor:
        found: Tensor = getattr(fused, need)
        return found

    def _loss(self, module: nn.Module, need: str, fused: Fused | None = None) -> Tensor:
        own: Any = module
        given_ = self._fused(need) if fused is None else fused
        found: Tensor = own.loss(module(_copy(given_)), self._target(own))
        return found

    def _target(self, module: Any) -> Tensor:
        state, truth = self._tried()
        target = torch.from_numpy(self._head().encode(state, truth))
        if hasattr(module, "arrange"):
            features: Mapping[str, Features] = given.some(given.INPUTS, ROWS)
            target = module.arrange(features, target)[1]
        return target

    def _predict(self, module: nn.Module, need: str, rows: list[int] | None = None) -> Tensor:
        own: Any = module
        fused = self._fused(need)
        if rows is not None:
            fused = Fused(
                **{n: t[rows] for n in ("vector", "tokens", "logits") if (t := getattr(fused, n)) is not None}
            )
        found: Tensor = own.predict(module(fused)).detach()
        return found


def _copy(fused: Fused) -> Fused:
    """The same tensors in another Fused: a head adds to what it is given."""
    return Fused(vector=fused.vector, tokens=fused.tokens, logits=fused.logits)
