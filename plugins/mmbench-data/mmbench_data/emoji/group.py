"""To which group an emoji belongs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench import Dataset, Label
from mmbench_data.emoji.rows import CITATION, LICENCE, ORIGIN, emoji
from mmbench_data.splits import stratified, tables

if TYPE_CHECKING:
    from datasets import DatasetDict


class EmojiGroup(Dataset):
    """The group of an emoji (people, food, travel, ...) from its picture and its name.

    8 groups of Unicode's emoji list, flags and skin tones left out. Pictures are OpenMoji's, 128 x 128 on white; the
    text is the Unicode name in lower case.
    """

    name = "emoji_group"
    columns = {"image": "image", "text": "text"}
    target = Label("group")
    licence = LICENCE
    source = "https://openmoji.org"
    citation = CITATION

    def origin(self) -> str:
        return ORIGIN

    def load(self, cache: Path) -> "DatasetDict":
        from datasets import ClassLabel, Image, Value

        rows = emoji()
        groups = [row.group for row in rows]
        columns: dict[str, list[Any]] = {
            "image": [{"bytes": row.png, "path": None} for row in rows],
            "text": [row.text for row in rows],
            "group": groups,
        }
        features = {"image": Image(), "text": Value("string"), "group": ClassLabel(names=sorted(set(groups)))}
        return tables(columns, stratified(groups), features)
