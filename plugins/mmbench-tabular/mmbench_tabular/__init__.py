"""Built-in plugin mmbench-tabular: encoders of tables."""

import mmbench as mb
from mmbench_tabular.deep import FTTransformer, ResMLP
from mmbench_tabular.embeddings import PLE, Periodic
from mmbench_tabular.mlp import MLP


@mb.hookimpl
def mmbench_encoders() -> list[type[mb.Encoder]]:
    return [MLP, ResMLP, FTTransformer, PLE, Periodic]
