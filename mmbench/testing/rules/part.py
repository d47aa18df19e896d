"""What the contracts of several roles ask alike: a part that says what it is, and configurations of its space."""

import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
from torch import Tensor, nn

from mmbench.api.data import Task
from mmbench.api.parts import Part, State
from mmbench.api.parts.head import Head
from mmbench.api.space import Choice, Int, Space, Value, active, check_space, defaults
from mmbench.plugins import load

Array = np.ndarray[Any, Any]


def assert_describes_itself(part: type[Part]) -> None:
    """Check name, docstring and space, and that `supports` gives None or a reason for every type of target."""
    assert re.fullmatch(r"[a-z][a-z0-9_]*", part.name), f"the name {part.name!r}: lower-case letters, digits and _"
    assert (inspect.getdoc(part) or "").strip(), "a docstring: one line of summary, then equation and shapes"
    check_space(part.space, part.__name__)
    for task in tasks(("a", "b")).values():
        reason = part().supports(task)
        assert reason is None or (isinstance(reason, str) and reason), "supports gives None, or a reason in words"


@cache
def heads() -> Mapping[str, Head]:
    """The heads that are installed, by type of target: each role's contract holds for each of them."""
    return load().heads


def tasks(modalities: tuple[str, ...]) -> dict[str, Task]:
    """One task for each type of target, {type: task}."""
    kinds = dict.fromkeys(modalities, "tabular")
    return {
        name: Task(f"try_{name}", "try", modalities=kinds, target=head.example(modalities), metric="any")
        for name, head in heads().items()
    }


def tried(head: Head, modalities: tuple[str, ...], rows: int) -> tuple[State, Array]:
    """Some truth of the head's type, [rows], and what the head learns from it."""
    truth = head.truth(rows, np.random.default_rng(4))
    names = [f"class {number}" for number in range(int(truth.max()) + 1)] if truth.dtype.kind == "i" else None
    return head.fit(head.example(modalities), truth, names), truth


def settings(space: Space, count: int) -> Iterator[Mapping[str, Value]]:
    """The default configuration of `space`, then `count` random ones, of active parameters only; each once."""
    generator = np.random.default_rng(0)
    seen: list[Mapping[str, Value]] = [defaults(space)]
    seen += [draw(space, generator) for _ in range(count)]
    for number, params in enumerate(seen):
        if params not in seen[:number]:
            yield params


def learning(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The names and parameters of a module that are not frozen."""
    return [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]


def leaves(*tensors: Tensor) -> list[Tensor]:
    """Every tensor that gathers a gradient when one of `tensors` is differentiated."""
    found, seen, waiting = [], set(), [t.grad_fn for t in tensors]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        waiting += [following for following, _ in node.next_functions]
    return found


def draw(space: Space, generator: np.random.Generator) -> dict[str, Value]:
    """A random configuration of `space`, of its active parameters."""
    chosen: dict[str, Value] = {}
    for name, parameter in space.items():
        if not active(parameter, chosen):
            continue
        if isinstance(parameter, Choice):
            chosen[name] = parameter.options[int(generator.integers(len(parameter.options)))]
        elif isinstance(parameter, Int):
            chosen[name] = int(generator.integers(parameter.low, parameter.high + 1))
        else:
            chosen[name] = float(generator.uniform(parameter.low, parameter.high))
    return chosen
