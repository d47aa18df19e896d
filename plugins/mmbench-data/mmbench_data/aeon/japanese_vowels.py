"""Who says two vowels: nine speakers, in four groups of cepstra."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench import Dataset, Label
from mmbench_data.aeon.series import AEON, collection, official
from mmbench_data.splits import tables

if TYPE_CHECKING:
    from datasets import DatasetDict

WIDTH = 3


class JapaneseVowels(Dataset):
    """Which of nine men says the vowels /ae/, from four groups of three cepstral coefficients (four series).

    640 utterances, 7 to 29 steps long, of 12 cepstra each. The test part is the official one (370 utterances, said on
    another occasion); of the official train part of 270 every fourth utterance of a speaker is for validation.

    Accuracy of logistic regression on statistics of each series: lowest .849, lower .822, higher .892, highest .703;
    all .984.
    """

    name = "japanese_vowels"
    columns = {"lowest": "series", "lower": "series", "higher": "series", "highest": "series"}
    target = Label("speaker")
    licence = "CC BY 4.0 (UCI); BSD-3-Clause (the wheel aeon that carries it)"
    source = "https://doi.org/10.24432/C5NS47"
    citation = (
        "Kudo, M., Toyama, J., & Shimbo, M. (1999). Multidimensional curve classification using passing-through "
        "regions. Pattern Recognition Letters, 20(11-13), 1103-1111. https://doi.org/10.24432/C5NS47"
    )

    def origin(self) -> str:
        return AEON.origin

    def load(self, cache: Path) -> "DatasetDict":
        from datasets import ClassLabel, List, Value

        series, labels, train = collection("JapaneseVowels")
        columns: dict[str, list[Any]] = {
            group: [one[:, WIDTH * n : WIDTH * (n + 1)] for one in series] for n, group in enumerate(self.columns)
        }
        speakers = sorted(set(labels))
        columns["speaker"] = [speakers.index(label) for label in labels]
        features = {group: List(List(Value("float32"))) for group in self.columns}
        features["speaker"] = ClassLabel(names=speakers)
        return tables(columns, official(labels, train), features)
