"""What a data set's plugin gives wrongly is said in one line that names it; what it gives rightly is kept as it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

import mmbench as mb
from mmbench.api.data import Target
from mmbench.engine.data import tables
from mmbench.engine.identity import fingerprint
from mmbench.errors import DataError

ROWS = {"train": "aabb", "validation": "ab", "test": "bb"}
"""{split: the class of each row}"""


class Letters(mb.Dataset):
    """A number beside a letter."""

    name = "letters"
    columns = {"x": "tabular"}
    target: ClassVar[Target] = mb.Label("y")
    licence = "CC0-1.0"
    finish: Callable[[Any], Any] = staticmethod(lambda splits: splits)

    def load(self, cache: Path) -> Any:
        from datasets import Dataset, DatasetDict

        plain = {split: {"x": [[0.5]] * len(row), "y": list(row)} for split, row in ROWS.items()}
        return self.finish(DatasetDict({split: Dataset.from_dict(columns) for split, columns in plain.items()}))


def finished(finish: Callable[[Any], Any]) -> Letters:
    """The data set whose `load` ends with `finish`."""
    made: type[Letters] = type("Finished", (Letters,), {"finish": staticmethod(finish)})
    return made()


def cast(splits: Any) -> Any:
    from datasets import ClassLabel

    return splits.cast_column("y", ClassLabel(names=["a", "b"]))


def test_text_that_is_cast_is_a_class(tmp_path: Path) -> None:
    table = tables.materialise(finished(cast), tmp_path)
    assert table.facts == {"rows": {"train": 4, "validation": 2, "test": 2}, "classes": ["a", "b"]}
    assert table.targets("test").tolist() == [1, 1]


def test_classes_that_each_split_numbers_by_itself_are_refused(tmp_path: Path) -> None:
    """`class_encode_column` does that: "b" is 1 in train, and 0 in a test split that holds no "a"."""
    with pytest.raises(DataError, match=r"'letters': the target column 'y' has other classes in test than in train"):
        tables.materialise(finished(lambda splits: splits.class_encode_column("y")), tmp_path)


@pytest.mark.parametrize(
    ("finish", "said"),
    [
        (lambda splits: splits, r"'y' is string, no ClassLabel in train: load may end with splits.cast_column\('y'"),
        (lambda splits: splits.remove_columns("y"), r"'y' is missing in train"),
        (lambda splits: {"train": splits["train"]}, r"gives the splits \['train'\], not \['test', 'train', 'valid"),
        (lambda splits: None, r"gives the splits NoneType, not"),
        (lambda splits: splits["rain"], r"'letters': load raises KeyError: 'rain' \(test_tables.py, line \d+\)"),
        (
            lambda splits: Path("no.csv").read_text(),
            r"load raises FileNotFoundError: .*'no.csv' \(test_tables.py, line",
        ),
    ],
)
def test_what_load_gets_wrong_is_one_line(tmp_path: Path, finish: Callable[[Any], Any], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        tables.materialise(finished(finish), tmp_path)
    assert "\n" not in str(caught.value)


def test_an_origin_that_raises_names_its_data_set() -> None:
    class Lost(Letters):
        def origin(self) -> Any:
            return Path("no.csv").read_bytes()

    with pytest.raises(DataError, match=r"'letters': origin raises FileNotFoundError: .*\(test_tables.py, line \d+\)"):
        fingerprint(Lost())


def test_files_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    class Own(Letters):
        finish = staticmethod(cast)

        def files(self) -> list[Path]:
            return [tmp_path / "rows.csv", tmp_path / "pictures"]

    (tmp_path / "pictures").mkdir()
    (tmp_path / "rows.csv").write_text("a")
    marks = [fingerprint(Own())]
    (tmp_path / "rows.csv").write_text("b")
    marks.append(fingerprint(Own()))
    (tmp_path / "pictures" / "one.png").write_bytes(b"a")
    marks.append(fingerprint(Own()))
    (tmp_path / "pictures" / "one.png").rename(tmp_path / "pictures" / "two.png")
    marks.append(fingerprint(Own()))
    assert len(set(marks)) == 4
    with pytest.raises(DataError, match="has changed since this run began"):
        tables.materialise(Own(), tmp_path / "cache", known=marks[0])
    assert tables.materialise(Own(), tmp_path / "cache", known=marks[-1]).folder.name.endswith(marks[-1])
