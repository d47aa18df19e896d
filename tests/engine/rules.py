"""Recipes for tests: the usual optimizer and schedule unless another is named."""

from typing import Any

from mmbench import plugins
from mmbench.api.space import defaults
from mmbench.engine.learn.optimizer import Rule
from mmbench.engine.learn.train import Recipe

CATALOG = plugins.load()


def rule(optimizer: str = "adamw", schedule: str = "cosine", **settings: Any) -> Rule:
    """A rule with its parts' defaults, where `settings` of the optimizer are not given."""
    chosen, course = CATALOG.optimizers[optimizer], CATALOG.schedules[schedule]
    return Rule(chosen, {**defaults(chosen.space), **settings}, course, defaults(course.space))


def recipe(*, lr: float, weight_decay: float, optimizer: str = "adamw", **told: Any) -> Recipe:
    return Recipe(rule=rule(optimizer, lr=lr, weight_decay=weight_decay), **told)
