"""The messages that a worker sends to the run, each with its type, and how they are written as bytes.

They are msgpack, read strictly by their types: nothing that a worker sends is executed, and what is no message is a
GarbledError, never something else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import msgspec

from mmbench.api.record import Refit, Trial
from mmbench.engine.executors.wire import GarbledError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Started:
    """The worker is there. The first message of each."""


@dataclass(frozen=True)
class Progressed:
    """Work that is no trial moves on."""

    label: str
    done: int
    total: int


@dataclass(frozen=True)
class DataExamined:
    """A data set was made, and this is what was found in it, in lines for people."""

    dataset: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class UnitsCounted:
    """A preparation is long, and has so many units that others can take part in."""

    units: int


@dataclass(frozen=True)
class TrialsBegun:
    """These trials, each with its parameters, are trained together now."""

    trials: Sequence[tuple[int, Mapping[str, Any]]]


@dataclass(frozen=True)
class TrialEnded:
    trial: Trial


@dataclass(frozen=True)
class Paused:
    """A scout has done its part; the rest of the search waits until it is its turn."""


@dataclass(frozen=True)
class RefitsBegun:
    """So many refits are trained together now."""

    together: int


@dataclass(frozen=True)
class Array:
    """A NumPy array of numbers."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, array: "np.ndarray[Any, Any]") -> "Array":
        """Raises TypeError if it holds objects."""
        if array.dtype.hasobject:
            raise TypeError(f"an array of {array.dtype} can't be sent: it must hold numbers")
        return cls(array.dtype.str, array.shape, array.tobytes())

    def array(self) -> "np.ndarray[Any, Any]":
        """Raises GarbledError if the bytes don't fit."""
        import numpy as np

        try:
            return np.frombuffer(self.data, np.dtype(self.dtype)).reshape(self.shape).copy()
        except (TypeError, ValueError, SyntaxError) as error:
            raise GarbledError(f"an array that can't be read: {error}") from error


@dataclass(frozen=True)
class RefitEnded:
    """A refit, not scored yet, and what it predicts for test and its damaged copies."""

    refit: Refit
    predictions: Mapping[str, Array]
    weights: bytes | None = None
    """A safetensors file, where they are to be kept."""


@dataclass(frozen=True)
class CostMeasured:
    cost: Mapping[str, Any]


@dataclass(frozen=True)
class Failed:
    """The job could not be done. The last message of a worker, unless it is `Done`."""

    reason: str
    fault: Literal["data", "job"] = "job"
    """"data": nobody's but the machine's or the data's, such as a full disk; the run stops."""


@dataclass(frozen=True)
class Done:
    """The job is done: the last message."""


@dataclass(frozen=True)
class Doubled:
    """A part has forked the worker's process, and the copy went on as if it were the worker."""


Message: TypeAlias = (
    Started
    | Progressed
    | DataExamined
    | UnitsCounted
    | TrialsBegun
    | TrialEnded
    | Paused
    | RefitsBegun
    | RefitEnded
    | CostMeasured
    | Failed
    | Done
    | Doubled
)

_DECODERS = {kind.__name__: msgspec.msgpack.Decoder(kind) for kind in get_args(Message)}
_ENVELOPE = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])


def encode(message: Message) -> bytes:
    """Raises TypeError or ValueError if a part gave what can't be stored."""
    return msgspec.msgpack.encode((type(message).__name__, message), enc_hook=_plain)


def decode(content: bytes) -> Message:
    """Raises GarbledError if it is no message."""
    try:
        kind, body = _ENVELOPE.decode(content)
        decoder = _DECODERS.get(kind)
        message: Message | None = decoder.decode(body) if decoder else None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise GarbledError(str(error)) from error
    if message is None:
        raise GarbledError(f"a message of the unknown kind {kind[:40]!r}")
    return message


def _plain(value: Any) -> Any:
    """A number of NumPy's or torch's, as Python's own."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError(f"a {type(value).__name__} can't be sent")
