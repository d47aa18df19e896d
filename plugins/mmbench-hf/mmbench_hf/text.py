"""The encoder type `hf_text`: texts through a language model of the hub."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench.errors import DataError, told
from mmbench_hf.encoder import JOINT, HubEncoder
from mmbench_hf.place import VOCABULARY

if TYPE_CHECKING:
    from mmbench_hf.encoder import Array
    from mmbench_hf.modules import Network

LONGEST = 8192


class HubText(HubEncoder):
    """A language model of the hub, frozen or tuned, then one learned projection.

    pieces = the model's own tokenizer's, its special ones among them, at most `length`. s = the model's last hidden
    states, [B, T, D]; then as all models of the hub: see docs/guides/your-models.md.
    """

    kind = "text"
    needed = VOCABULARY
    batch = 16
    space = {**HubEncoder.space, "length": mb.Int(8, 512, default=64, stage="prepare", within=(2, LONGEST))}

    def settle(self, folder: Path, params: Mapping[str, Any]) -> dict[str, Any]:
        """No more pieces than the model has places for."""
        told = json.loads((folder / "config.json").read_text())
        places = told.get("text_config", told).get("max_position_embeddings", LONGEST)
        return {"length": min(params["length"], places, _tokenizer(folder).model_max_length)}

    def arrays(self, state: Mapping[str, Any], column: Sequence[Any]) -> "dict[str, Array]":
        """{"pieces": int32 [N, length], "mask": bool [N, length]}."""
        import numpy as np

        tokenizer, length = _tokenizer(self.folder), int(state["length"])
        found = tokenizer(list(column), truncation=True, max_length=length)["input_ids"] if len(column) else []
        pieces = np.zeros((len(found), length), np.int32)
        mask = np.zeros((len(found), length), bool)
        for row, ids in enumerate(found):
            ids = ids or [tokenizer.eos_token_id or tokenizer.unk_token_id or 0]  # an empty text is there, too
            pieces[row, : len(ids)], mask[row, : len(ids)] = ids, True
        return {"pieces": pieces, "mask": mask}

    def network(self, folder: Path, tokens: str) -> "Network":
        from mmbench_hf.readers import Text

        return Text(folder, tokens=tokens)

    def batches(self, arrays: "Mapping[str, Array]") -> list[list[int]]:
        """The rows in batches of one length each: nothing is padded."""
        lengths = arrays["mask"].sum(1)
        found: list[list[int]] = []
        for row in sorted(range(len(lengths)), key=lengths.__getitem__):
            if not found or len(found[-1]) == self.batch or lengths[found[-1][0]] != lengths[row]:
                found.append([])
            found[-1].append(row)
        return found

    def cut(self, arrays: "Mapping[str, Array]", rows: list[int]) -> "dict[str, Array]":
        return {"pieces": arrays["pieces"][rows, : int(arrays["mask"][rows[0]].sum())]}

    def steps(self, state: Mapping[str, Any]) -> int | None:
        return int(state["length"])

    def blank(self, state: Mapping[str, Any]) -> Any:
        return "a"


class ClipText(HubText):
    """The text half of a model of images and texts, as CLIP, frozen or tuned, then one learned projection.

    f = the text's vector in the space that it shares with images, [B, D]; else as models of texts: see
    docs/guides/your-models.md.
    """

    space = {**HubText.space, "tokens": JOINT}


@lru_cache(maxsize=4)
def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # whatever the files make of it
        raise DataError(f"the tokenizer in {folder.name!r} can't be read: {told(error)[:300]}") from error
    found.truncation_side = "right"
    return found
