"""The contract of an objective, as tests: inherit the class, name your part, and pytest runs it all.

from mmbench.testing.objective import ObjectiveContract
from my_objective import Mine

class TestMine(ObjectiveContract):
    part = Mine
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

from mmbench.api.parts import Epoch, Features, FeatureSpec, Fused, Objective, State
from mmbench.api.space import Params, defaults
from mmbench.engine.learn.model import Model
from mmbench.testing.rules import features as given
from mmbench.testing.rules import trained
from mmbench.testing.rules.part import Array, assert_describes_itself, heads, leaves, settings, tasks, tried

ROWS = 8
METHODS = ("on_features", "loss", "on_gradients", "on_epoch")
Gradients = Mapping[str, Tensor]


class ObjectiveContract:
    """What every objective must hold, for each type of target that it supports (`target`)."""

    part: ClassVar[type[Objective]]
    configurations: ClassVar[int] = 5
    """How many random configurations of the space are tried, beside the default one."""

    def inputs(self) -> Mapping[str, FeatureSpec]:
        """The modalities' shapes."""
        return given.INPUTS

    def params(self) -> Params:
        """The configuration that the tests use, unless they try several."""
        return defaults(self.part.space)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "target" in metafunc.fixturenames:
            metafunc.parametrize("target", _supported(self))

    def test_describes_itself(self) -> None:
        """It has a name, a docstring and a space that makes sense, and its module does something."""
        assert_describes_itself(self.part)
        module = self._build(next(iter(_supported(self))))
        assert any(hasattr(module, method) for method in METHODS), f"the module has none of {', '.join(METHODS)}"

    def test_parameters_learn(self, target: str) -> None:
        """What learns is in `parameters()`, gets a finite gradient from `loss`, and moves."""
        module = self._build(target).train()
        before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
        features = self._learning()
        terms = self._loss(module, features, target)
        known = {id(p) for p in module.parameters()} | {id(f.tokens) for f in features.values()}
        hidden = [tuple(leaf.shape) for leaf in leaves(*terms.values()) if id(leaf) not in known]
        assert not hidden, f"parameters of shape {hidden} are not registered: use nn.ParameterList or nn.ModuleList"
        if not before:
            return
        torch.stack(list(terms.values())).sum().backward()
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, f"{name} takes no part"
            assert parameter.grad.isfinite().all(), f"the gradient of {name} is not finite"
            assert parameter.grad.any(), f"the gradient of {name} is zero"
        torch.optim.SGD(module.parameters(), lr=1.0).step()
        for name, parameter in module.named_parameters():
            assert not torch.equal(parameter, before[name]), f"{name} does not move"

    def test_loss(self, target: str) -> None:
        """Named finite scalars, with finite gradients, also where modalities are missing, epoch after epoch."""
        module: Any = self._build(target).train()
        for index, features in enumerate(self._situations()):
            terms = self._loss(module, features, target)
            for name, term in terms.items():
                assert isinstance(name, str)
                assert term.shape == (), f"{name} is {tuple(term.shape)}, not a scalar"
                assert term.isfinite(), f"{name} is {term.item()}"
            learning = [term for term in terms.values() if term.requires_grad]
            if learning:
                torch.stack(learning).sum().backward()
            for modality, f in features.items():
                assert f.tokens.grad is None or f.tokens.grad.isfinite().all(), f"the gradient at {modality}"
            if hasattr(module, "on_epoch"):
                module.on_epoch(Epoch(index, 5, {"loss": 1.0, "score": 0.5}))

    def test_on_features(self, target: str) -> None:
        """New features of the same shapes, zero where nothing is, drawn from the given generator alone."""
        module: Any = self._build(target).train()
        if not hasattr(module, "on_features"):
            return
        for features in self._situations():
            before = copy.deepcopy(features)
            one = module.on_features(features, torch.Generator().manual_seed(1))
            torch.manual_seed(99)
            two = module.on_features(features, torch.Generator().manual_seed(1))
            assert list(one) == list(features), "modalities were lost, made up or put in another order"
            for m, f in one.items():
                assert f.tokens.shape == before[m].tokens.shape
                assert f.mask.shape == before[m].mask.shape
                assert f.mask.dtype == torch.bool
                assert f.tokens.isfinite().all()
                assert not f.tokens[~f.mask].any(), f"tokens of {m} that are masked must be zero"
                assert torch.equal(features[m].tokens, before[m].tokens), f"{m} was changed in place"
                assert torch.equal(features[m].mask, before[m].mask), f"the mask of {m} was changed in place"
                assert torch.equal(f.tokens, two[m].tokens), "draws from something beside its generator"

    def test_on_gradients(self, target: str) -> None:
        """The same names and shapes, finite, from the given generator alone; what came in is left alone."""
        module: Any = self._build(target).train()
        if not hasattr(module, "on_gradients"):
            return
        gradients = self._gradients()
        before = {name: gradient.clone() for name, gradient in gradients.items()}
        for features in self._situations():
            one = self._on_gradients(module, gradients, features, target)
            torch.manual_seed(99)
            two = self._on_gradients(module, gradients, features, target)
            assert set(one) <= set(gradients), "gradients of parameters that the model does not have"
            for name, gradient in one.items():
                assert gradient.shape == gradients[name].shape, name
                assert gradient.isfinite().all(), f"the gradient of {name} is not finite"
                assert torch.equal(gradient, two[name]), "draws from something beside its generator"
            for name, gradient in before.items():
                assert torch.equal(gradient, gradients[name]), f"the gradient of {name} was changed in place"

    def test_order_of_modalities_does_not_matter(self, target: str) -> None:
        """Modalities are looked up by name."""
        module, features = self._build(target), self._learning()
        expected = self._loss(module, features, target)
        torch.manual_seed(0)
        again = self.part().build(dict(reversed(list(self.inputs().items()))), self._outputs(target), self.params())
        again.load_state_dict(module.state_dict())
        for name, term in self._loss(again, dict(reversed(features.items())), target).items():
            torch.testing.assert_close(term, expected[name], rtol=1e-4, atol=1e-5)

    def test_settings(self, target: str) -> None:
        """Every configuration that the space allows can be built and gives finite losses."""
        for params in settings(self.part.space, self.configurations):
            terms = self._loss(self._build(target, params=params), self._learning(), target)
            assert all(term.isfinite() for term in terms.values()), params

    def test_state_dict_round_trips(self, target: str) -> None:
        """Weights are stored as safetensors, and give the same losses in another module."""
        module, again = self._build(target), self._build(target, seed=1)
        again.load_state_dict(load(save(module.state_dict())))
        one, two = (self._loss(m, self._learning(), target) for m in (module, again))
        assert all(torch.equal(one[name], two[name]) for name in one), "a state outside state_dict()"

    def test_memory_is_released(self, target: str) -> None:
        """Nothing global keeps a module: a search builds thousands."""
        module = self._build(target).train()
        self._loss(module, self._learning(), target)
        watch = weakref.ref(module)
        del module
        gc.collect()
        assert watch() is None, "the module outlives its last user"

    def test_trains_in_a_cohort(self, target: str) -> None:
        """Many configurations train in one program, each as it would alone, unless `cohort = False`."""
        if not self.part.cohort:
            pytest.skip("the part says cohort = False")
        if not heads()[target].cohort:
            pytest.skip(f"the engine trains models for a {target} one by one")
        trained.assert_trains_as_alone(*self._to_train(target))

    def test_training_ends_in_a_state_dict(self, target: str) -> None:
        """What a training leaves is in `state_dict()`, as weights are stored and loaded; evaluation changes nothing."""
        trained.assert_state_is_all(*self._to_train(target))

    def _to_train(self, target: str) -> trained.Lot:
        inputs = self.inputs()
        state, truth = trained.learned(target, tuple(inputs))
        width = None if "logits" in heads()[target].needs else 16

        def build(seed: int) -> Model:
            torch.manual_seed(seed)
            encoders = {m: trained.Projection(spec) for m, spec in inputs.items()}
            fusion = trained.Concatenation(inputs, width or state["outputs"])
            objective = self.part().build(inputs, state["outputs"], self.params())
            return trained.built(encoders, fusion, heads()[target], state, width=width, objective=objective)

        return build, trained.inputs_of(inputs, truth)

    def _outputs(self, target: str) -> int:
        return int(self._tried(target)[0]["outputs"])

    def _tried(self, target: str) -> tuple[State, Array]:
        """Some truth of this type, [ROWS], and what its head learns from it."""
        return tried(heads()[target], tuple(self.inputs()), ROWS)

    def _build(self, target: str, *, params: Params | None = None, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        chosen = self.params() if params is None else params
        module = self.part().build(self.inputs(), self._outputs(target), chosen)
        assert isinstance(module, nn.Module), f"build gives {type(module).__name__}, not a module"
        return module

    def _learning(self, features: Mapping[str, Features] | None = None) -> dict[str, Features]:
        """Features whose tokens gather gradients, as an encoder's do."""
        made = given.some(self.inputs(), ROWS) if features is None else features
        return {m: Features(f.tokens.clone().requires_grad_(), f.mask) for m, f in made.items()}

    def _situations(self) -> list[dict[str, Features]]:
        """All there; one modality gone in some rows, and in all; nothing there at all."""
        features = given.some(self.inputs(), ROWS)
        first = next(iter(features))
        some = given.without(features, first, slice(0, 3))
        return [self._learning(f) for f in (features, some, given.without(features, first), given.nothing(features))]

    def _judged(self, target: str) -> tuple[Fused, Tensor]:
        """A fusion's result and the truth; of all pairs of rows, for a match."""
        generator, head = torch.Generator().manual_seed(4), heads()[target]
        state, found = self._tried(target)
        truth = torch.from_numpy(head.encode(state, found))
        module: Any = head.build(state, None if "logits" in head.needs else 16, 0.0, defaults(head.space))
        if hasattr(module, "arrange"):
            _, truth = module.arrange(given.some(self.inputs(), ROWS), truth)
        vector, logits = (torch.randn(len(truth), n, generator=generator) for n in (16, self._outputs(target)))
        return Fused(vector=vector, logits=logits if "logits" in head.needs else None), truth

    def _loss(self, module: nn.Module, features: Mapping[str, Features], target: str) -> dict[str, Tensor]:
        own: Any = module
        return dict(own.loss(features, *self._judged(target))) if hasattr(own, "loss") else {}

    def _gradients(self) -> dict[str, Tensor]:
        """Gradients of a model: each encoder's weight and bias, the fusion's, the output's."""
        generator = torch.Generator().manual_seed(5)
        owners = [*(f"encoders.{m}.layer" for m in self.inputs()), "fusion.layer", "output.3"]
        shapes = {"weight": (6, 5), "bias": (6,)}
        return {f"{o}.{n}": torch.randn(shape, generator=generator) for o in owners for n, shape in shapes.items()}

    def _on_gradients(
        self, module: Any, gradients: Gradients, features: Mapping[str, Features], target: str
    ) -> dict[str, Tensor]:
        with torch.no_grad():
            generator = torch.Generator().manual_seed(1)
            return dict(module.on_gradients(gradients, features, *self._judged(target), generator))


def _supported(contract: ObjectiveContract) -> list[str]:
    """The types of target that the part supports."""
    found = tasks(tuple(contract.inputs()))
    return [target for target, task in found.items() if contract.part().supports(task) is None]
