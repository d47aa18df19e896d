"""The contract of an encoder, as tests: inherit the class, name your part, and pytest runs it all.

from mmbench.testing.encoder import EncoderContract
from my_encoder import Mine

class TestMine(EncoderContract):
    part = Mine
"""

import gc
import inspect
import json
import random
import weakref
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from mmbench.api.data import KINDS
from mmbench.api.parts import Encoder, Features, FeatureSpec
from mmbench.api.space import Params, check_space, defaults
from mmbench.engine.learn.model import Inputs, Model
from mmbench.testing.rules import trained
from mmbench.testing.rules.columns import extreme, ordinary
from mmbench.testing.rules.part import draw, heads, learning, leaves, tried

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Prepared:
    """An encoder, fitted, with what it made of the column."""

    encoder: Encoder
    column: list[Any]
    state: Mapping[str, Any]
    arrays: dict[str, Array]


class EncoderContract:
    """What every encoder must hold. Override `column` and `extremes` if your part reads special values."""

    part: ClassVar[type[Encoder]]
    rows: ClassVar[int] = 12
    configurations: ClassVar[int] = 5
    """How many random configurations of the space are built, beside the default one."""

    def column(self) -> list[Any]:
        """Values as a dataset would give them, none missing."""
        return ordinary(self.part.kind, self.rows)

    def extremes(self) -> list[Any]:
        """Values far from those of `column`, but finite."""
        return extreme(self.part.kind)

    def test_describes_itself(self) -> None:
        assert self.part.kind in KINDS
        assert self.part.name == self.part.name.lower()
        assert self.part.name.isidentifier()
        assert "\n" in (inspect.getdoc(self.part) or ""), "a docstring: one line of summary, then shapes and equation"
        check_space(self.part.space, self.part.__name__)

    def test_fit_is_deterministic(self) -> None:
        params, states = defaults(self.part.space, "prepare"), []
        for chance in (7, 8):  # what a plugin might draw from by mistake
            np.random.seed(chance)
            torch.manual_seed(chance)
            random.seed(chance)
            states.append(self.part().fit(self.column(), params))
        assert set(states[0]) == set(states[1])
        for name, value in states[0].items():
            np.testing.assert_array_equal(value, states[1][name], err_msg=f"state[{name!r}] depends on chance")

    def test_a_frozen_one_learns_from_no_row(self) -> None:
        if not self.part.frozen:
            return
        params = defaults(self.part.space, "prepare")
        state, other = self.part().fit([], params), self.part().fit(self.column(), params)
        assert set(state) == set(other)
        for name, value in state.items():
            np.testing.assert_array_equal(value, other[name], err_msg=f"state[{name!r}] depends on rows: it is frozen")

    def test_fit_and_transform_keep_the_values(self) -> None:
        found = prepared(type(self))
        before = [_bytes(value) for value in self.column()]
        assert [_bytes(value) for value in found.column] == before, "the column was changed in place"

    def test_state_can_be_stored(self) -> None:
        found = prepared(type(self))
        arrays = {name: torch.as_tensor(v) for name, v in found.state.items() if isinstance(v, np.ndarray)}
        rest = {name: v for name, v in found.state.items() if not isinstance(v, np.ndarray)}
        stored = {name: tensor.numpy() for name, tensor in load(save(arrays)).items()} | json.loads(json.dumps(rest))
        again = found.encoder.transform(stored, found.column[:3])
        for name, array in again.items():
            close(array, found.arrays[name][:3], name)
        build(found, state=stored)

    def test_arrays(self) -> None:
        found = prepared(type(self))
        assert found.arrays
        for name, array in found.arrays.items():
            assert isinstance(array, np.ndarray), name
            assert array.dtype.kind in "biuf", f"{name}: {array.dtype} is no number"
            assert len(array) == self.rows, name
            assert np.isfinite(array).all(), f"{name} is not finite"
        if "mask" in found.arrays:
            mask = found.arrays["mask"]
            assert mask.dtype == bool
            assert mask.ndim == 2
            assert mask.any(1).all(), "a value that is there has no step: it would count as missing"

    def test_transform_is_row_wise(self) -> None:
        found = prepared(type(self))
        backwards = found.encoder.transform(found.state, found.column[::-1])
        for name, array in found.arrays.items():
            close(backwards[name][::-1], array, f"{name}: order matters")
        for row in (0, self.rows // 2, self.rows - 1):
            alone = found.encoder.transform(found.state, [found.column[row]])
            for name, array in found.arrays.items():
                close(alone[name][0], array[row], f"{name}: other rows matter")

    def test_summary(self) -> None:
        found = prepared(type(self))
        summary = found.encoder.summary(found.state, found.arrays)
        assert summary.dtype == np.float32
        assert summary.ndim == 2
        assert len(summary) == self.rows
        assert np.isfinite(summary).all()
        alone = found.encoder.summary(found.state, {name: a[:1] for name, a in found.arrays.items()})
        close(alone, summary[:1])

    def test_augment(self) -> None:
        found = prepared(type(self))
        arrays = tensors(found.arrays)
        kept = {name: tensor.clone() for name, tensor in arrays.items()}
        one, two = (found.encoder.augment(arrays, torch.Generator().manual_seed(3)) for _ in range(2))
        assert set(one) == set(arrays)
        for name, tensor in one.items():
            assert tensor.shape == arrays[name].shape, name
            assert tensor.dtype == arrays[name].dtype, name
            assert torch.equal(arrays[name], kept[name]), f"{name} was changed in place, and with it the stored data"
            assert torch.equal(tensor, two[name]), f"{name} draws from something beside its generator"

    def test_features(self) -> None:
        found = prepared(type(self))
        for count in (1, 2, self.rows):
            for training in (True, False):
                features = encode(build(found).train(training), tensors(found.arrays, count))
                assert features.tokens.shape[0] == count
                assert features.tokens.shape[1] > 0
                assert features.tokens.isfinite().all()
                assert all(layer.ndim == 3 and len(layer) == count for layer in features.layers)

    def test_rows_do_not_meet(self) -> None:
        found = prepared(type(self))
        module = build(found).eval()
        whole, alone = (encode(module, tensors(found.arrays, count)) for count in (self.rows, 1))
        close(present(alone)[0], present(whole)[0])

    def test_parameters_are_registered(self) -> None:
        found = prepared(type(self))
        module = build(found).train()
        known = {id(parameter) for parameter in module.parameters()}
        gathering = leaves(encode(module, tensors(found.arrays)).tokens)
        hidden = [tuple(leaf.shape) for leaf in gathering if id(leaf) not in known]
        assert not hidden, f"parameters of shape {hidden} are not in parameters(): keep them in a ModuleList"

    def test_parameters_learn(self) -> None:
        found = prepared(type(self))
        module = build(found).train()
        before = {name: parameter.detach().clone() for name, parameter in learning(module)}
        if not before:
            return
        backward(module, tensors(found.arrays))
        for name, parameter in learning(module):
            assert parameter.grad is not None, f"{name} takes no part"
            assert parameter.grad.isfinite().all(), f"{name} has a gradient that is not finite"
            assert parameter.grad.abs().sum() > 0, f"{name} has no gradient"
        torch.optim.AdamW(module.parameters(), lr=0.01, weight_decay=0.0).step()
        for name, parameter in learning(module):
            assert not torch.equal(parameter, before[name]), f"{name} does not move"

    def test_masked_steps_change_nothing(self) -> None:
        found = prepared(type(self))
        mask = found.arrays.get("mask")
        if mask is None or mask.all():
            return
        module = build(found).eval()
        generator = np.random.default_rng(5)
        other = dict(found.arrays)
        for name, array in found.arrays.items():
            if name != "mask" and array.shape[:2] == mask.shape:
                other[name] = array.copy()
                other[name][~mask] = generator.choice(array.ravel(), size=other[name][~mask].shape)
        one, two = encode(module, tensors(found.arrays)), encode(module, tensors(other))
        assert torch.equal(one.mask, two.mask)
        close(present(one), present(two))
        for layer, same in zip(one.layers, two.layers, strict=True):
            close(layer, same)

    def test_no_mask_is_a_full_one(self) -> None:
        """A split that has all its steps comes without "mask", to the module and to `augment`."""
        found = prepared(type(self))
        arrays = tensors(found.arrays)
        if "mask" not in arrays:
            return
        arrays["mask"] = torch.ones_like(arrays["mask"])
        without = {name: tensor for name, tensor in arrays.items() if name != "mask"}
        module = build(found).eval()
        try:
            one, two = encode(module, arrays), encode(module, without)
        except KeyError as error:
            raise AssertionError(f"the module asks for {error}, which may not be there: use arrays.get") from error
        close(present(one), present(two))
        assert two.mask.all(), "a token is missing where no step is"
        for layer, same in zip(one.layers, two.layers, strict=True):
            close(layer, same)
        moved, same_moved = (
            found.encoder.augment(dict(given), torch.Generator().manual_seed(3)) for given in (arrays, without)
        )
        assert set(same_moved) == set(without)
        for name, tensor in same_moved.items():
            assert torch.equal(tensor, moved[name]), f"{name}: augment changes it otherwise where there is no mask"

    def test_a_missing_row_changes_nothing(self) -> None:
        """A missing modality comes as zeros in every array, the mask included."""
        found = prepared(type(self))
        module = build(found).eval()
        arrays = tensors(found.arrays)
        holed = {name: tensor.clone() for name, tensor in arrays.items()}
        for tensor in holed.values():
            tensor[0] = 0
        one, two = encode(module, arrays), encode(module, holed)
        assert two.tokens.isfinite().all()
        close(present(one)[1:], present(two)[1:])
        module = build(found).train()
        backward(module, holed)
        for name, parameter in learning(module):
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), f"{name}: the gradient of a missing row is not finite"

    def test_is_deterministic(self) -> None:
        found = prepared(type(self))
        arrays = tensors(found.arrays)
        module = build(found).eval()
        torch.testing.assert_close(encode(module, arrays).tokens, encode(module, arrays).tokens, rtol=0, atol=0)
        trained = []
        for _ in range(2):
            module = build(found).train()
            torch.manual_seed(1)
            backward(module, arrays)
            trained.append([p.grad for _, p in learning(module)])
        for one, two in zip(*trained, strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=0)

    def test_state_dict_round_trips(self) -> None:
        found = prepared(type(self))
        one, two = build(found, seed=1).eval(), build(found, seed=2).eval()
        two.load_state_dict(load(save(one.state_dict())))
        arrays = tensors(found.arrays)
        torch.testing.assert_close(encode(one, arrays).tokens, encode(two, arrays).tokens, rtol=0, atol=0)

    def test_configurations(self) -> None:
        generator = np.random.default_rng(11)
        for _ in range(self.configurations):
            params = draw(self.part.space, generator)
            found = _prepare(self, {n: v for n, v in params.items() if self.part.space[n].stage == "prepare"})
            module = build(found, params=params).train()
            backward(module, tensors(found.arrays))
            assert encode(module.eval(), tensors(found.arrays)).tokens.isfinite().all(), params

    def test_extreme_values(self) -> None:
        found = prepared(type(self))
        values = self.extremes()
        arrays = found.encoder.transform(found.state, values)
        for name, array in arrays.items():
            assert len(array) == len(values), name
            assert np.isfinite(array).all(), f"{name} is not finite"
        if "mask" in arrays:
            assert arrays["mask"].any(1).all(), "a value that is there has no step: it would count as missing"
        for training in (True, False):
            assert encode(build(found).train(training), tensors(arrays)).tokens.isfinite().all()

    def test_trains_in_a_cohort(self) -> None:
        if not self.part.cohort:
            pytest.skip("the part says cohort = False")
        build, inputs = self._to_train()
        if any(isinstance(module, torch.nn.RNNBase) for module in build(0).modules()):
            pytest.skip("the engine trains recurrent layers one by one")
        trained.assert_trains_as_alone(build, inputs)

    def test_training_ends_in_a_state_dict(self) -> None:
        trained.assert_state_is_all(*self._to_train())

    def _to_train(self) -> trained.Lot:
        found, head = prepared(type(self)), heads()["label"]
        state, truth = tried(head, ("a",), self.rows)
        width = present(encode(build(found).eval(), tensors(found.arrays, 2))).shape[2]

        def model(seed: int) -> Model:
            module = build(found, seed=seed)
            fusion = trained.Concatenation({"a": FeatureSpec(width, 1)}, 8)
            return trained.built({"a": module}, fusion, head, state, width=8)

        target = torch.from_numpy(head.encode(state, truth))
        return model, Inputs({"a": tensors(found.arrays)}, target, self.rows)

    def test_memory_is_released(self) -> None:
        found = prepared(type(self))
        module = build(found).train()
        backward(module, tensors(found.arrays))
        watch = weakref.ref(module)
        del module
        gc.collect()
        assert watch() is None, "the module outlives its last user: something global holds it"


def _prepare(contract: EncoderContract, params: Params) -> Prepared:
    encoder, column = contract.part(), contract.column()
    state = encoder.fit(column, params)
    return Prepared(encoder, column, state, encoder.transform(state, column))


def prepared(contract: type[EncoderContract]) -> Prepared:
    """The part with its default configuration, fitted once for all tests of `contract`."""
    return _prepared(cast(Hashable, contract))


@cache
def _prepared(contract: Any) -> Prepared:
    return _prepare(contract(), defaults(contract.part.space, "prepare"))


def build(
    found: Prepared, *, params: Params | None = None, state: Mapping[str, Any] | None = None, seed: int = 0
) -> nn.Module:
    """A fresh module, initialised under `seed`. As in a run, it is given the parameters of both stages."""
    torch.manual_seed(seed)
    chosen = defaults(found.encoder.space) if params is None else params
    module = found.encoder.build(found.state if state is None else state, chosen)
    assert isinstance(module, nn.Module)
    return module


def close(found: Array | Tensor, expected: Array | Tensor, what: str = "") -> None:
    """Equal but for rounding."""
    one, two = (v.detach().numpy() if isinstance(v, Tensor) else v for v in (found, expected))
    np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-4, err_msg=what)


def tensors(arrays: Mapping[str, Array], rows: int | None = None) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array[:rows].copy()) for name, array in arrays.items()}


def encode(module: nn.Module, arrays: dict[str, Tensor]) -> Features:
    """What the module gives, checked and as Features: a bare tensor is all present."""
    given = module(arrays)
    if isinstance(given, Tensor):
        tokens = given.unsqueeze(1) if given.ndim == 2 else given
        given = Features(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool))
    assert isinstance(given, Features), f"forward gives {type(given).__name__}, not Features or a tensor"
    assert given.tokens.ndim == 3, f"tokens are {tuple(given.tokens.shape)}, not [B, T, D]"
    assert given.tokens.is_floating_point()
    assert given.mask.dtype == torch.bool
    assert given.mask.shape == given.tokens.shape[:2]
    return given


def present(features: Features) -> Tensor:
    """The tokens, zero where there is none: what fusions see."""
    return features.tokens * features.mask.unsqueeze(-1)


def backward(module: nn.Module, arrays: dict[str, Tensor]) -> None:
    """Give every parameter the gradient of a random weighting of the tokens that are there."""
    tokens = present(encode(module, arrays))
    if tokens.requires_grad:
        weight = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(2))
        (tokens * weight).sum().backward()


def _bytes(value: Any) -> bytes:
    """What `value` holds, to see whether it changed."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, np.ndarray | Sequence):
        return np.asarray(value).tobytes()
    samples = getattr(value, "samples", None)
    return bytes(value.tobytes() if samples is None else samples.tobytes())
