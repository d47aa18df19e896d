"""The parts that plugins bring: datasets, encoders, fusions, objectives, metrics, corruptions.

A part is a class with a `name`, a `source`, a declared `space` and one or two methods. It imports torch
only inside `build`, so that listing parts is instant. Tensors are batch first: B rows, T tokens, D width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from mmbench.api.data import Kind, Target, Task
from mmbench.api.space import Params, Space
from mmbench.sources import file_hash, walk

if TYPE_CHECKING:
    import numpy as np
    import torch
    from datasets import DatasetDict
    from torch import Tensor, nn

    from mmbench.api.carrier import Carrier

    Array: TypeAlias = np.ndarray[Any, Any]

Arrays: TypeAlias = "dict[str, Array]"
State: TypeAlias = Mapping[str, Any]
"""What an encoder's `fit` gives: numpy arrays, and what JSON can hold."""


class Part:
    """What every part has. The first line of its docstring is its summary on `mmbench list`."""

    role: ClassVar[str]
    name: ClassVar[str]
    source: ClassVar[str] = ""
    """Where the method was published: a DOI, an arXiv id or an address."""
    space: ClassVar[Space] = {}
    usual: ClassVar[bool] = False
    """Whether it is the one of its role that is taken where nobody chooses, and the one that a search begins with."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Modules of other packages that take long to import and that it needs: a run loads them once for all workers."""

    def supports(self, task: Task) -> str | None:
        """None if the part fits `task`, else the reason why not, as the board shows it."""
        return None

    def files(self) -> Sequence[Path]:
        """Files and folders that it reads beside its code, such as weights or a word list: they belong to what it is.

        A file beside the code whose name stands in the code as a string need not be named.
        """
        return ()

    @property
    def about(self) -> str:
        """In a few words, for lists: what it reads, damages or scores."""
        return ""

    def kinds_read(self) -> Sequence[str]:
        """The kinds of modality that it names."""
        return ()

    def concerns(self, task: Task) -> bool:
        """Whether it has to do with such a task at all; if not, no reason is listed why it does not fit."""
        return not self.kinds_read() or bool(set(self.kinds_read()) & set(task.modalities.values()))


class Features:
    """What an encoder gives for one modality.

    tokens [B, T, D]; mask [B, T], True where a token is present, left out where all of them are. The engine sets
    tokens to zero where the mask is False, and masks every token of a missing modality, so `pooled` is then zero.
    One token a row may be given as [B, D]; it is read as [B, 1, D], as are layers.
    """

    def __init__(self, tokens: "Tensor", mask: "Tensor | None" = None, layers: "Sequence[Tensor]" = ()) -> None:
        self.given = (tokens, mask, tuple(layers))
        """What it was made of: `Features(*given)` is the same again."""

    @property
    def whole(self) -> bool:
        """Whether every token is known to be present, which saves the arithmetic with the mask."""
        return self.given[1] is None

    @property
    def shape(self) -> tuple[int, ...]:
        """(B, T, D)."""
        tokens = self.given[0]
        return tuple(tokens.shape) if tokens.dim() != 2 else (tokens.shape[0], 1, tokens.shape[1])

    @property
    def tokens(self) -> "Tensor":
        return _tokens(self.given[0])

    @property
    def mask(self) -> "Tensor":
        import torch

        tokens, mask, _ = self.given
        return tokens.new_ones((), dtype=torch.bool).expand(self.shape[:2]) if mask is None else mask

    @property
    def layers(self) -> "tuple[Tensor, ...]":
        """The encoder's inner layers, each [B, T', D'], for fusions that meet there."""
        return tuple(map(_tokens, self.given[2]))

    @property
    def pooled(self) -> "Tensor":
        """The mean of the present tokens, [B, D]; zero where none is."""
        tokens, mask, _ = self.given
        if mask is None:
            return tokens if tokens.dim() == 2 else tokens.squeeze(1) if tokens.shape[1] == 1 else tokens.mean(1)
        weight = mask.to(tokens.dtype).unsqueeze(-1)
        return (self.tokens * weight).sum(1) / weight.sum(1).clamp(min=1)

    @property
    def present(self) -> "Tensor":
        """Whether the modality is there at all, [B], bool."""
        return self.mask[:, 0] if self.whole else self.mask.any(1)

    def take(self, rows: "Tensor") -> "Features":
        """The features of some rows, each as often as it is asked for."""
        tokens, mask, layers = self.given
        some = [gather(layer, rows) for layer in layers]
        return Features(gather(tokens, rows), None if mask is None else gather(mask, rows), some)


def gather(array: "Tensor", rows: "Tensor") -> "Tensor":
    """`array[rows]`. A CPU does it by `index_select` several times as fast, forth and back; on a GPU that one's
    gradient would be summed in a random order."""
    return array.index_select(0, rows) if array.device.type == "cpu" else array[rows]


def _tokens(tensor: "Tensor") -> "Tensor":
    return tensor.unsqueeze(1) if tensor.dim() == 2 else tensor


@dataclass(frozen=True)
class FeatureSpec:
    """The shape of one modality's features: `width` D and at most `tokens` T."""

    width: int
    tokens: int


@dataclass
class Fused:
    """What a fusion gives; a bare tensor stands for `vector` (feature level) or `logits` (decision level).

    vector [B, width]; logits [B, outputs]; tokens [B, T, width], with mask [B, T], True where one is present, left out
    where all are; weights {modality: [B]}: how much each modality counted; extras: what the fusion's own `loss` needs.
    """

    vector: "Tensor | None" = None
    logits: "Tensor | None" = None
    tokens: "Tensor | None" = None
    weights: "dict[str, Tensor]" = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)
    mask: "Tensor | None" = None


@dataclass(frozen=True)
class Epoch:
    """What `on_epoch` hears after each epoch: its index from 0, how many there may be, and the scores so far."""

    index: int
    total: int
    scores: Mapping[str, float]
    """"loss" (training) and "score" (the tuned metric on validation)."""

    @property
    def progress(self) -> float:
        return (self.index + 1) / self.total


class Dataset(Part):
    """Named, typed columns with a target and fixed splits.

    `version` goes into the fingerprint: raise it when `load` gives other rows than before.
    """

    role = "dataset"
    columns: ClassVar[Mapping[str, Kind]]
    target: ClassVar[Target]
    licence: ClassVar[str]
    citation: ClassVar[str] = ""
    version: ClassVar[str] = "1"

    @property
    def about(self) -> str:
        return f"{' + '.join(self.columns)} → {self.target.type}"

    def kinds_read(self) -> Sequence[str]:
        return tuple(self.columns.values())

    def load(self, cache: Path) -> "DatasetDict":
        """Give the splits `train`, `validation` and `test`, the same rows in the same order each time.

        The features of a column by kind: tabular `List(Value("float32"))`, text `Value("string")`,
        image `Image()`, audio `Audio(decode=False)` (WAV or FLAC bytes), series and video
        `List(List(...))` or `Array2D/4D`. Called once; mmbench keeps what it gives under `cache`.
        """
        raise NotImplementedError

    def files(self) -> Sequence[Path]:
        """The files and folders of this machine that `load` reads, if any. As they hold the truth of test, processes
        that tune are kept from reading them, where the system can do that (see SECURITY.md)."""
        return ()

    def origin(self) -> str:
        """What the rows are made from, beside the code: names and hashes of carriers or files. Must be quick.

        Unless overridden: a hash of what `files` hold.
        """
        import hashlib

        lines = [
            f"{place.name}\0{file.relative_to(place)}\0{file_hash(file)}\0"
            for place in map(Path, self.files())
            for file in walk(place)
        ]
        return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else ""


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
    carriers: "ClassVar[tuple[Carrier, ...]]" = ()
    """The pretrained weights it loads, so that `mmbench prepare` can fetch them ahead."""

    @property
    def about(self) -> str:
        return f"reads {self.kind}"

    def kinds_read(self) -> Sequence[str]:
        return (self.kind,)

    def fit(self, column: Sequence[Any], params: Params) -> State:
        """Learn from the train rows; `params` are those of stage "prepare", already given defaults.

        What `transform` and `build` need of `params` belongs in the state. The same rows give the same state: what it
        draws at random it draws from a generator of its own, of a seed that never changes, so that one preparation
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
        from mmbench.api.summary import summarise

        return summarise(arrays)


class Fusion(Part):
    """Turns several modalities' features into one vector, or into a decision.

    level "feature": the module gives a vector [B, width]; the engine's head makes the decision.
    level "decision": the module gives logits [B, width]; `width` is then the number of outputs.
    level "estimator": `build` gives no module but an object with scikit-learn's `fit(X, y)` and
    `predict_proba(X)` or `predict(X)`, where X is {modality: float32 [N, D]} from `Encoder.summary`; what it draws at
    random it draws from NumPy's global generator, which the engine seeds, as it seeds torch's for modules.

    A module's `forward(features)` takes {modality: Features}, in a fixed order. It may also have
    `loss(fused, target) -> {name: scalar}`: terms added to the task's loss, except that the name "task" takes
    its place; and `on_epoch(epoch: Epoch)`. target: Label [B] long; Labels [B, L] float; Number [B] float,
    standardised; Match [B] float, 1 where the pair belongs together.
    """

    role = "fusion"
    level: ClassVar[Literal["feature", "decision", "estimator"]] = "feature"
    cohort: ClassVar[bool] = True
    """Whether its modules may train many configurations in one program: see `Objective`."""

    @property
    def about(self) -> str:
        return f"{self.level} level"

    @property
    def gives(self) -> tuple[str, ...]:
        """What its modules give without fail, of vector and logits: a head must be able to work with one of them."""
        return {"feature": ("vector",), "decision": ("logits",), "estimator": ()}[self.level]

    def build(self, inputs: Mapping[str, FeatureSpec], width: int, params: Params) -> Any:
        raise NotImplementedError


class Objective(Part):
    """The training signal beyond the task's loss.

    `build` gives a module, which may own parameters, with any of these methods:

        on_features(features, generator) -> features          before fusion, in training only
        loss(features, fused, target) -> {name: scalar}        added to the task's loss
        on_gradients(gradients, features, fused, target, generator) -> gradients
                                                               {parameter name: tensor}; an encoder's names
                                                               begin with "encoders.MODALITY."
        on_epoch(epoch: Epoch) -> None

    `features` are the encoders' outputs for the batch. `outputs` is the number of outputs of the task.
    Write them without in-place changes, so that many trials can train in one program; one that can't says
    `cohort = False` and trains one by one.
    """

    role = "objective"
    cohort: ClassVar[bool] = True

    def build(self, inputs: Mapping[str, FeatureSpec], outputs: int, params: Params) -> "nn.Module":
        raise NotImplementedError


class Metric(Part):
    """A score of predictions against the truth.

    prediction: Label: probabilities [N, C]; Labels: probabilities [N, L]; Number: [N];
    Match: scores [N, N], row i and column i belong together; Text: str [N]. truth: [N], [N, L], [N], [N] (the row's
    index), str [N]. In general `Target.read` gives the truth and `Head.decode` the prediction. Both are views that
    can't be written to.
    """

    role = "metric"
    targets: ClassVar[tuple[str, ...]]
    """Which types of target it scores: "label", "labels", "number", "match", "text" or another head's."""
    direction: ClassVar[Literal["max", "min"]] = "max"
    share: ClassVar[bool] = False
    """Whether it lies between 0 and 1 as a share does, and its interval with it."""
    column: ClassVar[int | None] = 9
    """Its place among the columns of a board on which another metric is tuned, the lowest first; None: it has none."""
    interval: ClassVar[bool] = False
    """Whether a board gives its interval where another metric is tuned: it is drawn for each contender and seed, so
    `resampled` should be fast."""
    short: ClassVar[str] = ""
    """The head of its column, where its name is too long for a narrow one."""

    @property
    def about(self) -> str:
        return f"{', '.join(self.targets)}: {self.direction}"

    def concerns(self, task: Task) -> bool:
        return task.target.type in self.targets

    def score(self, truth: "Array", prediction: "Array") -> float:
        """A finite number. Raises UndefinedError if this truth has no score, whatever is predicted."""
        raise NotImplementedError

    def resampled(self, truth: "Array", prediction: "Array", rows: "Array") -> "Array":
        """The score of each of R resamples of the items, [R], NaN where a resample has none; rows [R, N] are indices.

        Override to be fast.
        """
        import numpy as np

        from mmbench.api.scores import scored

        found = (scored(self, truth[r], prediction[r]) for r in rows)
        return np.array([np.nan if isinstance(score, str) else score for score in found])

    def right(self, truth: "Array", prediction: "Array") -> "Array | None":
        """Which items are right, [N] of 0 and 1, if the metric is about that: `mmbench compare` counts who was."""
        return None


class Corruption(Part):
    """Damages the raw values of one column, by a severity from 0 (nothing) to 1.

    A value that is left alone is given back as the same object, so that its features need no new computing.
    """

    role = "corruption"
    kinds: ClassVar[tuple[str, ...]]
    """Which kinds of modality it damages."""

    @property
    def about(self) -> str:
        return f"damages {', '.join(self.kinds)}"

    def kinds_read(self) -> Sequence[str]:
        return self.kinds

    def apply(
        self, column: Sequence[Any], severity: float, generator: "np.random.Generator", params: Params
    ) -> list[Any]:
        raise NotImplementedError
