"""Which name belongs to which emoji: cross-modal retrieval."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench import Dataset, Match
from mmbench_data.emoji.rows import CITATION, LICENCE, ORIGIN, emoji
from mmbench_data.splits import stratified, tables

if TYPE_CHECKING:
    from datasets import DatasetDict


class EmojiMatch(Dataset):
    """The name that belongs to an emoji's picture, and the picture that belongs to a name (retrieval).

    The same rows and splits as `emoji_group`. No two rows have the same name or the same picture, so each has one
    right answer.
    """

    name = "emoji_match"
    columns = {"image": "image", "text": "text"}
    target = Match(left=("image",), right=("text",))
    stratify = "group"
    licence = LICENCE
    source = "https://openmoji.org"
    citation = CITATION

    def origin(self) -> str:
        return ORIGIN

    def load(self, cache: Path) -> "DatasetDict":
        from datasets import Image, Value

        rows = emoji()
        columns: dict[str, list[Any]] = {
            "image": [{"bytes": row.png, "path": None} for row in rows],
            "text": [row.text for row in rows],
            "group": [row.group for row in rows],
        }
        features = {"image": Image(), "text": Value("string"), "group": Value("string")}
        return tables(columns, stratified(columns["group"]), features)
