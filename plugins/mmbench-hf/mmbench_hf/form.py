"""What an `[encoder.NAME]` table may say of a model of the hub, and the encoder that it makes."""

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import mmbench as mb
from mmbench.api.space import Space
from mmbench.errors import DataError, unknown
from mmbench_hf.audio import HubAudio
from mmbench_hf.encoder import HubEncoder
from mmbench_hf.image import ClipImage, HubImage
from mmbench_hf.place import Place
from mmbench_hf.text import ClipText, HubText
from mmbench_hf.video import HubVideo

TYPES: Mapping[str, type[HubEncoder]] = {
    "hf_text": HubText,
    "hf_image": HubImage,
    "hf_audio": HubAudio,
    "hf_video": HubVideo,
    "hf_clip_text": ClipText,
    "hf_clip_image": ClipImage,
}
KEYS = ("type", "folder", "hub", "revision")
COMMIT = re.compile(r"[0-9a-f]{40}")
HUB = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)?")


def make(name: str, table: Mapping[str, Any], folder: Path) -> mb.Encoder | None:
    """The encoder; None where its type is not one of ours. Raises DataError for what is wrong in the table."""
    kind = table["type"]
    if kind not in TYPES:
        if str(kind).startswith("hf_"):
            raise DataError(f"type: {unknown('type of model', str(kind), TYPES)}")
        return None
    for key, value in table.items():
        if key not in KEYS:
            raise DataError(unknown("key", key, KEYS))
        if not isinstance(value, str) or not value:
            raise DataError(f"{key} must be a text, not {value!r}")
    place = replace(_place(table, folder), table=f"[encoder.{name}]")
    if importlib.util.find_spec("transformers") is None:
        raise DataError('needs the package transformers: pip install "mmbench[hf]"')
    base = TYPES[kind]
    space: Space = {}
    if not place.folder:  # what is in a folder says what it is
        space = {"model": mb.Choice((place.said,), default=place.said, stage="prepare")}
    own = {"name": name, "place": place, "space": {**space, **base.space}}
    made: type[HubEncoder] = type(
        base.__name__, (base,), own | {m: getattr(base, m) for m in ("__doc__", "__module__")}
    )
    return made()


def _place(table: Mapping[str, Any], folder: Path) -> Place:
    hub, revision = table.get("hub"), table.get("revision")
    if ("folder" in table) == (hub is not None):
        raise DataError('write either folder = "..." or hub = "owner/name"')
    if hub is None:
        if revision is not None:
            raise DataError("revision is only for a model of the hub")
        return Place(folder=folder / table["folder"])
    if not HUB.fullmatch(hub):
        raise DataError(f"hub {hub!r} is no name of a model: write owner/name, or folder = ... for one that lies here")
    if revision is None:
        raise DataError(
            f'hub {hub!r} needs revision = "...", a commit of it: without one the weights may change any day'
        )
    if not COMMIT.fullmatch(revision):
        raise DataError(
            f"revision {revision!r} is no commit: write its 40 hexadecimal digits, as a branch or tag moves"
        )
    return Place(hub=hub, revision=revision)
