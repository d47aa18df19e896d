"""Every private function of torch that is used, each with a public fallback that gives the same result.

A name of `PRIVATE` is tried once, on almost nothing, before it is used: where a torch lacks it, or wants it called
otherwise, the public way is taken, which is slower and equal up to rounding. Nothing else in mmbench or in its plugins
names what torch marks as private. Optimizers use the four updates; the engine uses the rest.
"""

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor, nn

Tensors: TypeAlias = "Sequence[Tensor]"


@cache
def private(name: str) -> Any:
    """What torch has under a name of `PRIVATE`, or None if it isn't there or isn't called as it was."""
    try:
        found = _found(name)
        PRIVATE[name](found)
    except Exception:
        return None
    return found


def missing() -> list[str]:
    """The names of `PRIVATE` that this torch has no more: the public ways are taken in their place."""
    return [name for name in PRIVATE if private(name) is None]


def adamw(
    parameters: Tensors,
    gradients: Tensors,
    first: Tensors,
    second: Tensors,
    steps: Tensors,
    *,
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
    epsilon: float,
) -> None:
    """One step of AdamW in place, of parameters and both moments; `steps` counts each parameter's, this one too."""
    kernel = _fused("_fused_adamw_", parameters)
    if kernel:
        _adaptive(kernel, (parameters, gradients, first, second, [], steps), lr, betas, weight_decay, epsilon)
        return
    for parameter in parameters:
        parameter.mul_(1 - lr * weight_decay)
    _moments(parameters, gradients, first, second, steps, lr=lr, betas=betas, epsilon=epsilon)


def adam(
    parameters: Tensors,
    gradients: Tensors,
    first: Tensors,
    second: Tensors,
    steps: Tensors,
    *,
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
    epsilon: float,
) -> None:
    """One step of Adam in place, as `adamw`; the decay is part of the gradient."""
    kernel = _fused("_fused_adam_", parameters)
    if kernel:
        _adaptive(kernel, (parameters, gradients, first, second, [], steps), lr, betas, weight_decay, epsilon)
        return
    slopes = _decayed(parameters, gradients, weight_decay)
    _moments(parameters, slopes, first, second, steps, lr=lr, betas=betas, epsilon=epsilon)


def sgd(parameters: Tensors, gradients: Tensors, velocities: Tensors, *, lr: float, **told: Any) -> None:
    """One step of gradient descent with momentum in place; velocities are zero at first.

    told: momentum, nesterov (whether it is Nesterov's), weight_decay.
    """
    kernel = _fused("_fused_sgd_", parameters)
    if kernel:
        _descend(kernel, parameters, gradients, velocities, lr=lr, **told)
        return
    slopes, momentum = _decayed(parameters, gradients, told["weight_decay"]), told["momentum"]
    for parameter, slope, velocity in zip(parameters, slopes, velocities, strict=True):
        if momentum:
            velocity.mul_(momentum).add_(slope)
            slope = slope.add(velocity, alpha=momentum) if told["nesterov"] else velocity
        parameter.add_(slope, alpha=-lr)


def adagrad(parameters: Tensors, gradients: Tensors, sums: Tensors, steps: Tensors, *, lr: float, **told: Any) -> None:
    """One step of Adagrad in place; `sums` are those of the squared gradients. told: weight_decay, epsilon."""
    kernel = _fused("_fused_adagrad_", parameters) if parameters[0].is_cpu else None
    if kernel:
        _divide(kernel, parameters, gradients, sums, steps, lr=lr, **told)
        return
    slopes = _decayed(parameters, gradients, told["weight_decay"])
    for parameter, slope, total in zip(parameters, slopes, sums, strict=True):
        total.addcmul_(slope, slope)
        parameter.addcdiv_(slope, total.sqrt().add_(told["epsilon"]), value=-lr)


def count(steps: Tensors) -> None:
    """Add one to each, in place."""
    together = private("_foreach_add_")
    if together:
        together(list(steps), 1.0)
        return
    for step in steps:
        step.add_(1.0)


def transforms_active() -> bool:
    """Whether a transform of `torch.func` (`vmap`, `grad`) is at work on what runs now."""
    asked = private("_C._are_functorch_transforms_active")
    return bool(asked()) if asked else _refused_by_a_transform()


class Places:
    """Where a model keeps its parameters and buffers; one that several modules share has several places.

    `call` is `torch.func.functional_call` for any function of the model, and tells which tensors were replaced in it.
    The private way looks for the places once, not at each call.
    """

    def __init__(self, model: "nn.Module") -> None:
        self._model = model
        self.names = [*dict(model.named_parameters()), *dict(model.named_buffers())]
        self._own: list[tuple[dict[str, Any], str, Tensor, int]] = []
        if private("nn.Module._parameters") and private("nn.Module._buffers"):
            kept = [*dict(model.named_parameters()).values(), *dict(model.named_buffers()).values()]
            order = {id(tensor): place for place, tensor in enumerate(kept)}
            self._own = [
                (tensors, name, tensor, order[id(tensor)])
                for module in model.modules()
                for tensors in (module._parameters, module._buffers)
                for name, tensor in tensors.items()
                if tensor is not None
            ]

    def call(
        self, tensors: "Sequence[Tensor]", function: Callable[..., Any], *given: Any
    ) -> "tuple[Any, dict[str, Tensor | None]]":
        """What `function(*given)` gives while the model holds `tensors`, in the order of `names`; and what it put in
        their places, {name: tensor, or None if it took one away}."""
        if not self._own:
            return _functional(self._model, dict(zip(self.names, tensors, strict=True)), function, given)
        for place, name, _, number in self._own:
            place[name] = tensors[number]
        try:
            result = function(*given)
            changed = {
                self.names[number]: place.get(name)
                for place, name, _, number in self._own
                if place.get(name) is not tensors[number]
            }
        finally:
            for place, name, own, _ in self._own:
                place[name] = own
        return result, changed


def hooked(tensor: "Tensor") -> bool:
    """Whether somebody asked to be called when the tensor's gradient comes. torch has no public way to ask: if it keeps
    such hooks elsewhere, none are seen."""
    hooks = ("_backward_hooks", "_post_accumulate_grad_hooks")
    return any(getattr(tensor, name, None) for name in hooks)


REGISTERED = ("_parameters", "_buffers", "_modules")
"""The attributes in which a module keeps what is registered."""
HOOKS = (
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks",
    "_forward_hooks_always_called",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_load_state_dict_post_hooks",
    "_load_state_dict_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
)
"""The attributes in which a module keeps its hooks, by numbers that no two modules share."""


def flop_counter(formulas: Mapping[Any, Callable[..., int]]) -> Any:
    """A context; afterwards its `total` is the number of operations of all that ran inside. `formulas` {kernel: its
    operations by the shapes it is given} are added to torch's. The public way loads torch's compiler: seconds."""
    made = _own_counter() if private("utils._python_dispatch.TorchDispatchMode") else _torchs_counter()
    return made(formulas)


def kernels(*names: str) -> dict[str, Any]:
    """{name: kernel} of those that torch has, by the names that its dispatcher gives them."""
    import torch

    return {name: getattr(torch.ops.aten, name) for name in names if hasattr(torch.ops.aten, name)}


def _found(name: str) -> Any:
    import torch

    found: Any = torch
    *modules, last = name.split(".")
    for part in modules:
        if not hasattr(found, part):
            importlib.import_module(f"{found.__name__}.{part}")
        found = getattr(found, part)
    if last in REGISTERED:
        return vars(found()).get(last)
    return getattr(found, last)


def _fused(name: str, parameters: Tensors) -> Any:
    return private(name) if parameters[0].is_cpu or parameters[0].is_cuda else None


def _adaptive(
    kernel: Any, lists: tuple[Any, ...], lr: float, betas: tuple[float, float], weight_decay: float, epsilon: float
) -> None:
    kernel(
        *lists,
        lr=lr,
        beta1=betas[0],
        beta2=betas[1],
        weight_decay=weight_decay,
        eps=epsilon,
        amsgrad=False,
        maximize=False,
    )


def _moments(*lists: Tensors, lr: float, betas: tuple[float, float], epsilon: float) -> None:
    for parameter, gradient, mean, square, step in zip(*lists, strict=True):
        mean.lerp_(gradient, 1 - betas[0])
        square.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
        taken = float(step)
        scale = square.sqrt().div_(math.sqrt(1 - betas[1] ** taken)).add_(epsilon)
        parameter.addcdiv_(mean, scale, value=-lr / (1 - betas[0] ** taken))


def _descend(kernel: Any, *lists: Tensors, momentum: float, nesterov: bool, **told: Any) -> None:
    parameters, gradients, velocities = lists
    kept = velocities if momentum else []
    told |= {"momentum": momentum, "nesterov": nesterov and momentum > 0}
    kernel(parameters, gradients, kept, dampening=0.0, maximize=False, is_first_step=False, **told)


def _divide(kernel: Any, *lists: Tensors, epsilon: float, **told: Any) -> None:
    kernel(*lists, lr_decay=0.0, eps=epsilon, maximize=False, **told)


def _decayed(parameters: Tensors, gradients: Tensors, weight_decay: float) -> "list[Tensor]":
    return [g.add(p, alpha=weight_decay) for p, g in zip(parameters, gradients, strict=True)]


@cache
def _probe() -> Any:
    import torch

    class Probe(torch.autograd.Function):
        """Does nothing, and has no rule for transforms."""

        @staticmethod
        def forward(ctx: Any, x: "Tensor") -> "Tensor":
            return x

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            return gradients

    return Probe


def _refused_by_a_transform() -> bool:
    """torch refuses to run a function without such a rule exactly where a transform is at work."""
    import torch

    try:
        _probe().apply(torch.empty(0))
    except RuntimeError:
        return True
    return False


def _functional(
    model: "nn.Module", tensors: "dict[str, Tensor]", function: Callable[..., Any], given: tuple[Any, ...]
) -> "tuple[Any, dict[str, Tensor | None]]":
    from torch import nn
    from torch.func import functional_call

    class Call(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self) -> Any:
            result = function(*given)
            now: dict[str, Any] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
            return result, {name: now.get(name) for name, one in tensors.items() if now.get(name) is not one}

    result, changed = functional_call(Call(), {f"model.{name}": tensor for name, tensor in tensors.items()}, ())
    return result, changed


@cache
def _own_counter() -> Any:
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry, shape_wrapper

    class Counter(TorchDispatchMode):
        def __init__(self, formulas: Mapping[Any, Callable[..., int]]) -> None:
            super().__init__()
            self.total = 0
            self._formulas = {**flop_registry, **{kernel: shape_wrapper(f) for kernel, f in formulas.items()}}

        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            """What keeps torch from importing its compiler for this class."""
            return False

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            packet = func._overloadpacket
            if packet not in self._formulas:
                with self:
                    result = func.decompose(*args, **kwargs)
                    if result is not NotImplemented:
                        return result
            result = func(*args, **kwargs)
            if packet in self._formulas:
                self.total += int(self._formulas[packet](*args, **kwargs, out_val=result))
            return result

    return Counter


@cache
def _torchs_counter() -> Any:
    from torch.utils.flop_counter import FlopCounterMode

    class Counter(FlopCounterMode):
        def __init__(self, formulas: Mapping[Any, Callable[..., int]]) -> None:
            super().__init__(display=False, custom_mapping=dict(formulas))

        @property
        def total(self) -> int:
            return self.get_total_flops()

    return Counter


def _some(count: int) -> "list[list[Tensor]]":
    """So many lists of one tensor, the last a count of steps."""
    import torch

    return [[torch.zeros(1)] for _ in range(count - 1)] + [[torch.ones(())]]


def _counts(_: Any) -> None:
    import torch

    with _own_counter()({}) as counter:
        torch.ones(1, 1).mm(torch.ones(1, 1))
    if counter.total != 2:
        raise ValueError(f"{counter.total} operations, not 2")


def _tried_adaptive(kernel: Any) -> None:
    *lists, steps = _some(5)
    _adaptive(kernel, (*lists, [], steps), 0.1, (0.9, 0.99), 0.0, 1e-8)


PRIVATE: dict[str, Callable[[Any], object]] = {
    "_fused_adamw_": _tried_adaptive,
    "_fused_adam_": _tried_adaptive,
    "_fused_sgd_": lambda f: _descend(f, *_some(4)[:3], lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.0),
    "_fused_adagrad_": lambda f: _divide(f, *_some(4), lr=0.1, weight_decay=0.0, epsilon=1e-8),
    "_foreach_add_": lambda add: add(_some(1)[0], 1.0),
    "_C._are_functorch_transforms_active": lambda asked: asked(),
    "nn.Module._parameters": lambda kept: kept.items(),
    "nn.Module._buffers": lambda kept: kept.items(),
    "utils._python_dispatch.TorchDispatchMode": _counts,
    "Tensor._backward_hooks": id,
    "Tensor._post_accumulate_grad_hooks": id,
}
"""{name below `torch`: what calls it as it is called here, and raises if that can't be done any more}"""
