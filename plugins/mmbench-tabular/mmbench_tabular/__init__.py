"""Built-in plugin mmbench-tabular: encoders of tables."""

import mmbench as mb
from mmbench_tabular.mlp import MLP


@mb.hookimpl
def mmbench_encoders() -> list[type[mb.Encoder]]:
    return [MLP]
