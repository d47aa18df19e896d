"""Four motions from a smartwatch's sensors."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench import Dataset, Label
from mmbench_data.aeon.series import AEON, collection, official
from mmbench_data.splits import tables

if TYPE_CHECKING:
    from datasets import DatasetDict


class BasicMotions(Dataset):
    """Walking, resting, running or badminton from a smartwatch's accelerometer and gyroscope: too easy to compare by.

    80 recordings of 100 steps (10 s), half of them the official test part; of the train part 8 are for validation. It
    is for trying things out.

    Accuracy of logistic regression on statistics of each series: accelerometer .975, gyroscope .875; both .950.
    """

    name = "basic_motions"
    columns = {"accelerometer": "series", "gyroscope": "series"}
    target = Label("motion")
    licence = "as the UEA archive has it, free for research; BSD-3-Clause (the wheel aeon that carries it)"
    source = "https://www.timeseriesclassification.com/description.php?Dataset=BasicMotions"
    citation = (
        "Bagnall, A., Dau, H. A., Lines, J., Flynn, M., Large, J., Bostrom, A., Southam, P., & Keogh, E. (2018). The "
        "UEA multivariate time series classification archive, 2018. arXiv:1811.00075"
    )

    def origin(self) -> str:
        return AEON.origin

    def load(self, cache: Path) -> "DatasetDict":
        from datasets import ClassLabel, List, Value

        series, labels, train = collection("BasicMotions")
        motions = sorted(set(labels))
        columns: dict[str, list[Any]] = {
            "accelerometer": [one[:, :3] for one in series],
            "gyroscope": [one[:, 3:] for one in series],
            "motion": [motions.index(label) for label in labels],
        }
        features = {
            "accelerometer": List(List(Value("float32"))),
            "gyroscope": List(List(Value("float32"))),
            "motion": ClassLabel(names=[motion.lower() for motion in motions]),
        }
        return tables(columns, official(labels, train), features)
