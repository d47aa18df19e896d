"""Encoders: one modality to token features."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from mmbench.api.parts.part import Arrays, Part, State
from mmbench.api.space import Params

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

    from mmbench.api.carrier import Carrier

    Array: TypeAlias = np.ndarray[Any, Any]


class Encoder(Part):
    """Turns one modality into token features.

    The preprocessor (`fit`, `transform`) is fitted on the train rows only, runs once for each dataset, and
    its arrays are stored; the module (`build`) is trained. A frozen model does all its work in `transform`.
    """

    role = "encoder"
    kind: ClassVar[str]
    """Which kind of modality it reads: see `mmbench.api.data`."""
    cohort: ClassVar[bool] = True
    """Whether its modules may train many configurations in one program: see `Objective`."""
    frozen: ClassVar[bool] = False
    """Whether `fit` looks at no row, as that of a pretrained model: `transform` then gives the same whatever is train,
    and runs once for all folds and train sizes. So it is for an encoder without a `fit`."""
    on_request: ClassVar[bool] = False
    """Whether only a suite that names it gets it: where a suite names none, all others of its kind are prepared and
    searched, and one more would change every such suite's search."""
    carriers: "ClassVar[tuple[Carrier, ...]]" = ()
    """The pretrained weights it loads, so that `mmbench prepare` can fetch them ahead."""

    @property
    def about(self) -> str:
        return f"reads {self.kind}"

    def together(self, params: Params) -> bool:
        """Whether its modules with these parameters may train many configurations in one program."""
        return self.cohort

    def fetch(self) -> Sequence[Path]:
        """Have its weights here, and give where they lie: `mmbench prepare` calls it."""
        return [carrier.fetch() for carrier in self.carriers]

    def kinds_read(self) -> Sequence[str]:
        return (self.kind,)

    def fit(self, column: Sequence[Any], params: Params) -> State:
        """Learn from the train rows (from none, where `frozen`); `params` are those of stage "prepare", already given
        defaults.

        What `transform` and `build` need of `params` belongs in the state. The same rows give the same state: what it
        draws at random it draws from its own generator, with a fixed seed, so that one preparation
        serves all runs.
        """
        return dict(params)

    def transform(self, state: State, column: Sequence[Any]) -> Arrays:
        """Turn values into arrays, each [N, ...], row by row: a row's result depends on its own value only.

        The name "mask" is kept for a bool array [N, T] that says which steps are there. Where all of a split's are,
        `augment` and the module get no mask.
        """
        raise NotImplementedError

    def augment(self, arrays: "dict[str, Tensor]", generator: "torch.Generator") -> "dict[str, Tensor]":
        """Change a training batch; never called in evaluation."""
        return arrays

    def build(self, state: State, params: Params) -> "nn.Module":
        """A module whose `forward({name: [B, ...]})` gives `Features` (or a tensor [B, D] or [B, T, D])."""
        raise NotImplementedError

    def summary(self, state: State, arrays: Arrays) -> "Array":
        """A plain vector for each row, float32 [N, D], for baselines that train no encoder.

        Unless overridden: vectors as they are; longer arrays by mean and deviation over their steps.
        """
        return _joined(arrays)


def _joined(arrays: "dict[str, Array]") -> "Array":
    """Join arrays [N, ...] to float32 [N, D]: vectors as they are, [N, T, ...] by mean and deviation over T.

    A bool array "mask" [N, T] leaves steps out of mean and deviation.
    """
    import numpy as np

    mask = arrays.get("mask")
    parts = []
    for name in sorted(arrays):
        array = arrays[name]
        if name == "mask":
            continue
        values = np.asarray(array, dtype=np.float32)
        if values.ndim == 1:
            values = values[:, None]
        if values.ndim > 2:
            steps = values.reshape(*values.shape[:2], -1)
            use = np.ones(steps.shape[:2], bool) if mask is None or mask.shape != steps.shape[:2] else mask
            weight = use[..., None] / np.maximum(use.sum(1), 1)[:, None, None]
            mean = (steps * weight).sum(1)
            deviation = np.sqrt((np.square(steps - mean[:, None]) * weight).sum(1))
            values = np.concatenate([mean, deviation], axis=1)
        parts.append(values)
    return np.concatenate(parts, axis=1).astype(np.float32)
