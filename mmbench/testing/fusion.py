"""The contract of a fusion, as tests: inherit the class, name your part, and pytest runs it all.

    from mmbench.testing.fusion import FusionContract
    from my_fusion import Mine

    class TestMine(FusionContract):
        part = Mine

A part of the levels "feature" and "decision" meets the tests of its module, one of the level "estimator" those of
`mmbench.testing.rules.estimator`. Each rule's reason is its docstring.
"""

import copy
import gc
import weakref
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from mmbench.api.parts import Epoch, Features, FeatureSpec, Fused, Fusion
from mmbench.api.space import Float, Params, defaults
from mmbench.engine.learn.model import Model
from mmbench.testing.rules import features as given
from mmbench.testing.rules import trained
from mmbench.testing.rules.estimator import EstimatorRules
from mmbench.testing.rules.part import assert_describes_itself, heads, leaves, settings, tasks, tried

ROWS = 7


class ModuleRules:
    """What holds for the module of a fusion; `count` is the number of modalities, `several` the same but above 1."""

    part: ClassVar[type[Fusion]]
    configurations: ClassVar[int] = 5
    """How many random configurations of the space are tried, beside the default one."""

    def inputs(self) -> Mapping[str, FeatureSpec]:
        """The shapes of as many modalities as the tests need."""
        return given.INPUTS

    def counts(self) -> list[int]:
        """How many modalities the fusion joins: of 1, 2 and 3, those for which it supports a task."""
        return [n for n in (1, 2, 3) if n <= len(self.inputs()) and self._targets(n)]

    @property
    def width(self) -> int:
        """Of the vector; at the level "decision" the number of outputs: 1 if it supports nothing but one number."""
        if self.part.level != "decision":
            return 8
        supported = [
            tried(heads()[target], tuple(self.inputs()), 40)[0] for target in self._targets(max(self.counts()))
        ]
        return 1 if all(state["outputs"] == 1 for state in supported) else 8

    def params(self) -> Params:
        """The configuration that the tests use, unless they try several."""
        return defaults(self.part.space)

    def target(self, rows: int) -> Tensor:
        """The truth for the fusion's own loss: a class of 0..width - 1 for each row, unless overridden."""
        return torch.arange(rows) % self.width

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "count" in metafunc.fixturenames:
            metafunc.parametrize("count", self.counts(), ids=_modalities)
        if "several" in metafunc.fixturenames:
            metafunc.parametrize("several", [n for n in self.counts() if n > 1], ids=_modalities)

    def test_gives_the_right_shape(self, count: int) -> None:
        """[B, width] for any number of rows, one included, in training and in evaluation."""
        for rows in (1, 2, ROWS):
            for training in (True, False):
                out = self._out(self._build(count).train(training), self._features(count, rows))
                assert tuple(out.shape) == (rows, self.width), f"{tuple(out.shape)} for {rows} rows"
                assert out.isfinite().all(), f"not finite for {rows} rows"

    def test_parameters_are_registered(self, count: int) -> None:
        """What learns must be in `parameters()`: a plain list hides it from the optimizer."""
        module = self._build(count).train()
        known = {id(parameter) for parameter in module.parameters()}
        fused, terms = self._run(module, self._features(count))
        hidden = [tuple(leaf.shape) for leaf in leaves(_tensor(fused), *terms.values()) if id(leaf) not in known]
        assert not hidden, f"parameters of shape {hidden} are not registered: use nn.ParameterList or nn.ModuleList"

    def test_parameters_learn(self, several: int) -> None:
        """Every parameter gets a gradient and moves."""
        module = self._build(several).train()
        before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
        self._backward(module, self._features(several))
        learning = {name: p for name, p in module.named_parameters() if p.requires_grad}
        for name, parameter in learning.items():
            assert parameter.grad is not None, f"{name} takes no part"
            assert parameter.grad.isfinite().all(), f"the gradient of {name} is not finite"
            assert parameter.grad.any(), f"the gradient of {name} is zero"
        if learning:
            torch.optim.SGD(learning.values(), lr=1.0).step()
        for name, parameter in learning.items():
            assert not torch.equal(parameter, before[name]), f"{name} does not move"

    def test_rows_do_not_meet(self, count: int) -> None:
        """In evaluation a row's result depends on that row alone, so other rows in another order change nothing."""
        module, features = self._build(count).eval(), self._features(count)
        order = torch.arange(ROWS).flip(0)
        whole = self._out(module, features)
        _close(self._out(module, given.rows(features, order)), whole[order], "the rows' order matters")
        _close(self._out(module, given.rows(features, [2])), whole[2:3], "a row alone gives another result")

    def test_order_of_modalities_does_not_matter(self, several: int) -> None:
        """Modalities are looked up by name: by `m in inputs`, or in the order of the sorted names."""
        module, features = self._build(several).eval(), self._features(several)
        expected = self._out(module, features)
        reverse = dict(reversed(features.items()))
        _close(self._out(module, reverse), expected, "the order of the features' dict matters")
        again = self._fresh(dict(reversed(self._inputs(several).items())), self.params())
        again.load_state_dict(module.state_dict())
        _close(self._out(again.eval(), reverse), expected, "the order of build's inputs matters: use sorted(inputs)")

    def test_masked_tokens_do_not_matter(self, count: int) -> None:
        """A batch is padded to its longest row: padding must not change what a row gives."""
        module = self._build(count, spare=2).eval()
        features = self._features(count)
        _close(self._out(module, given.padded(features, 2)), self._out(module, features), "padding changes the result")

    def test_a_missing_modality(self, several: int) -> None:
        """It is finite where a modality is missing, with finite gradients, and other rows do not change."""
        for modality in self._inputs(several):
            module = self._build(several)
            features = self._features(several)
            holed = given.without(features, modality, slice(0, 3))
            out = self._out(module.eval(), holed)
            assert out.isfinite().all(), f"not finite where {modality} is missing"
            _close(out[3:], self._out(module, features)[3:], f"rows that have {modality} change")
            self._backward(module.train(), holed)
            self._backward(module, given.without(features, modality))
            _assert_finite_gradients(module, f"where {modality} is missing")

    def test_everything_missing(self, count: int) -> None:
        """A row with no modality at all gives something finite."""
        module, features = self._build(count), given.nothing(self._features(count))
        assert self._out(module.eval(), features).isfinite().all(), "not finite where everything is missing"
        self._backward(module.train(), features)
        _assert_finite_gradients(module, "where everything is missing")

    def test_is_deterministic(self, count: int) -> None:
        """One seed gives the same weights, result and gradients; evaluation draws nothing."""
        found = []
        for _ in range(2):
            module = self._build(count).train()
            torch.manual_seed(3)
            out = self._backward(module, self._features(count))
            found.append([out, *(p.detach() for p in module.parameters()), *_gradients(module).values()])
        for one, two in zip(*found, strict=True):
            assert torch.equal(one, two), "one seed gives two results"
        module.eval()
        one, two = (self._out(module, self._features(count)) for _ in range(2))
        assert torch.equal(one, two), "evaluation draws at random"

    def test_settings(self) -> None:
        """Every configuration that the space allows can be built and trained."""
        count = max(self.counts())
        for params in settings(self.part.space, self.configurations):
            module = self._build(count, params=params)
            out = self._backward(module.train(), self._features(count))
            assert tuple(out.shape) == (ROWS, self.width), params
            assert out.isfinite().all(), f"not finite with {params}"
            _assert_finite_gradients(module, str(params))

    def test_dropout(self) -> None:
        """A parameter named dropout drops in training, not in evaluation; at 0 it does nothing."""
        dropout = self.part.space.get("dropout")
        if not isinstance(dropout, Float):
            return
        count = max(self.counts())
        features = self._features(count)
        module = self._build(count, params={**self.params(), "dropout": dropout.high}).train()
        one, two = (self._out(module, features) for _ in range(2))
        assert not torch.equal(one, two), "dropout does nothing"
        if dropout.low == 0:
            module = self._build(count, params={**self.params(), "dropout": 0.0})
            _close(self._out(module.train(), features), self._out(module.eval(), features), "dropout = 0 drops")

    def test_state_dict_round_trips(self, count: int) -> None:
        """Weights are stored as safetensors, and give the same result in another module."""
        module, features = self._build(count).eval(), self._features(count)
        again = self._build(count, seed=1).eval()
        again.load_state_dict(load(save(module.state_dict())))
        assert torch.equal(self._out(again, features), self._out(module, features)), "a state outside state_dict()"

    def test_leaves_its_inputs_alone(self, count: int) -> None:
        """Encoders and objectives use the same tensors: nothing may be changed in place."""
        features = self._features(count)
        before = copy.deepcopy(features)
        self._backward(self._build(count).train(), features)
        for m, f in before.items():
            assert torch.equal(f.tokens, features[m].tokens), f"the tokens of {m} were changed in place"
            assert torch.equal(f.mask, features[m].mask), f"the mask of {m} was changed in place"

    def test_weights(self, count: int) -> None:
        """Weights, if given, are [B] for each modality: not negative, 0 where missing, and 1 in sum."""
        module, features = self._build(count).eval(), self._features(count)
        if count > 1:
            features = given.without(features, next(iter(features)), slice(0, 3))
        weights = self._fused(module, features).weights
        if not weights:
            return
        assert set(weights) == set(features), f"weights of {sorted(weights)}"
        for m, weight in weights.items():
            assert tuple(weight.shape) == (ROWS,), f"the weights of {m} are {tuple(weight.shape)}, not [B]"
            assert (weight >= 0).all(), f"a weight of {m} is negative"
            assert not weight[~features[m].present].any(), f"{m} has weight where it is missing"
        _close(torch.stack(list(weights.values())).sum(0), torch.ones(ROWS), "the weights' sum")

    def test_loss(self, several: int) -> None:
        """The fusion's own losses are named finite scalars that can be differentiated, epoch after epoch."""
        module: Any = self._build(several).train()
        if not hasattr(module, "loss"):
            return
        for index in range(2):
            _, terms = self._run(module, self._features(several))
            assert terms, "loss gives no term"
            for name, term in terms.items():
                assert isinstance(name, str)
                assert term.shape == (), f"{name} is {tuple(term.shape)}, not a scalar"
                assert term.isfinite(), f"{name} is {term.item()}"
                assert term.requires_grad, f"{name} can't be differentiated"
            if hasattr(module, "on_epoch"):
                module.on_epoch(Epoch(index, 2, {"loss": 1.0, "score": 0.5}))

    def test_memory_is_released(self) -> None:
        """Nothing global keeps a module: a search builds thousands."""
        count = max(self.counts())
        gc.freeze()  # what was there before need not be looked through: that takes 0.3 s a part
        try:
            module = self._build(count).train()
            self._backward(module, self._features(count))
            watch = weakref.ref(module)
            del module
            gc.collect()
        finally:
            gc.unfreeze()
        assert watch() is None, "the module outlives its last user"

    def test_trains_in_a_cohort(self) -> None:
        """Many configurations train in one program, each as if alone, dropout included, unless `cohort = False`."""
        if not self.part.cohort:
            pytest.skip("the part says cohort = False")
        trained.assert_trains_as_alone(*self._to_train(cohort=True))

    def test_training_ends_in_a_state_dict(self) -> None:
        """What a training leaves is in `state_dict()`, as weights are stored and loaded; evaluation changes nothing."""
        trained.assert_state_is_all(*self._to_train())

    def _to_train(self, *, cohort: bool = False) -> trained.Lot:
        """A model with the part, for the first type of target that it supports, and rows to train it on."""
        count = max(self.counts())
        inputs = self._inputs(count)
        fitting = [t for t, head in heads().items() if t in self._targets(count) and (head.cohort or not cohort)]
        if not fitting:
            pytest.skip("it supports only what the engine trains one by one")
        state, target = trained.learned(fitting[0], tuple(inputs))
        width = self.width if self.part.level == "feature" else None

        def build(seed: int) -> Model:
            torch.manual_seed(seed)
            encoders = {m: trained.Projection(spec) for m, spec in inputs.items()}
            fusion = self.part().build(inputs, width or state["outputs"], self.params())
            return trained.built(encoders, fusion, heads()[fitting[0]], state, width=width)

        return build, trained.inputs_of(inputs, target)

    def _targets(self, count: int) -> set[str]:
        """The types of target that the fusion supports, given `count` modalities."""
        found = tasks(tuple(self.inputs())[:count])
        part = self.part()
        return {t for t, task in found.items() if (heads()[t].misfit(part) or part.supports(task)) is None}

    def _inputs(self, count: int, spare: int = 0) -> dict[str, FeatureSpec]:
        """The first `count` modalities, with room for `spare` more tokens each."""
        chosen = list(self.inputs().items())[:count]
        return {m: FeatureSpec(spec.width, spec.tokens + spare) for m, spec in chosen}

    def _features(self, count: int, rows: int = ROWS) -> dict[str, Features]:
        return given.some(self._inputs(count), rows)

    def _fresh(self, inputs: Mapping[str, FeatureSpec], params: Params, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        module = self.part().build(inputs, self.width, params)
        assert isinstance(module, nn.Module), f"build gives {type(module).__name__}, not a module"
        return module

    def _build(self, count: int, *, params: Params | None = None, seed: int = 0, spare: int = 0) -> nn.Module:
        return self._fresh(self._inputs(count, spare), self.params() if params is None else params, seed)

    def _fused(self, module: nn.Module, features: Mapping[str, Features]) -> Fused:
        """What the module gives, as Fused; a bare tensor is the vector, or the logits."""
        made = module(features)
        if isinstance(made, Tensor):
            made = Fused(vector=made) if self.part.level == "feature" else Fused(logits=made)
        assert isinstance(made, Fused), f"forward gives {type(made).__name__}, not Fused or a tensor"
        missing = "vector" if self.part.level == "feature" else "logits"
        assert getattr(made, missing) is not None, f"a fusion of the level {self.part.level!r} must give {missing}"
        return made

    def _out(self, module: nn.Module, features: Mapping[str, Features]) -> Tensor:
        with torch.no_grad():
            return _tensor(self._fused(module, features))

    def _run(self, module: nn.Module, features: Mapping[str, Features]) -> tuple[Fused, dict[str, Tensor]]:
        fused = self._fused(module, features)
        own: Any = module
        rows = len(_tensor(fused))
        return fused, dict(own.loss(fused, self.target(rows))) if hasattr(own, "loss") else {}

    def _backward(self, module: nn.Module, features: Mapping[str, Features]) -> Tensor:
        """Differentiate a random weighting of the result, as a head would, and the fusion's own losses."""
        fused, terms = self._run(module, features)
        out = _tensor(fused)
        if "task" not in terms:
            terms["task"] = (out * _noise(*out.shape)).sum()
        total = torch.stack(list(terms.values())).sum()
        if total.requires_grad:
            total.backward()
        return out.detach()


class FusionContract(ModuleRules, EstimatorRules):
    """What every fusion must hold. Override `inputs`, `counts`, `width`, `params` or `target` where yours differ."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if hasattr(cls, "part"):
            # Of the two sets of rules, pytest shall see only the one for the part's level.
            other = ModuleRules if cls.part.level == "estimator" else EstimatorRules
            for name in vars(other):
                if name.startswith("test_"):
                    setattr(cls, name, None)

    def test_describes_itself(self) -> None:
        """It has a name, a docstring, a space that makes sense, and a level."""
        assert_describes_itself(self.part)
        assert self.part.level in ("feature", "decision", "estimator"), self.part.level


def _modalities(count: int) -> str:
    return "1 modality" if count == 1 else f"{count} modalities"


def _tensor(made: Fused | Tensor) -> Tensor:
    """The vector, or else the logits."""
    if isinstance(made, Tensor):
        return made
    out = made.logits if made.vector is None else made.vector
    assert out is not None, "Fused holds neither vector nor logits"
    return out


def _noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


def _gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def _assert_finite_gradients(module: nn.Module, where: str) -> None:
    for name, gradient in _gradients(module).items():
        assert gradient.isfinite().all(), f"the gradient of {name} is not finite {where}"


def _close(found: Tensor, expected: Tensor, what: str) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, msg=lambda text: f"{what}\n{text}")
