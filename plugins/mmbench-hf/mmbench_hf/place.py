"""Where a model's files lie: in a folder, or at one commit of the hub, from where they are fetched once.

Of a model only its configuration, its weights as safetensors, and what its tokenizer or preprocessor reads are ever
opened: no pickle, and no code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from mmbench.errors import DataError, told

CONFIG, WEIGHTS = "config.json", "*.safetensors"
VOCABULARY = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
PREPROCESSOR = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
BESIDE = (
    "*.safetensors.index.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
)
READ = (CONFIG, WEIGHTS, *VOCABULARY, *PREPROCESSOR, *BESIDE)
"""The names of all files that are opened."""


@dataclass(frozen=True)
class Place:
    """A folder, or a name and a commit of the hub."""

    folder: Path | None = None
    hub: str | None = None
    revision: str | None = None
    table: str = ""
    """The table that says so, as messages call it."""

    @property
    def said(self) -> str:
        """What a record calls the model; where a folder lies is nobody's business."""
        return self.folder.name if self.folder else f"{self.hub}@{self.revision}"

    def files(self) -> Sequence[Path]:
        """What of a folder makes the model what it is; of the hub's its name and commit say that. Raises DataError if
        something is missing."""
        return sorted(_checked(self.folder, (), self._called)) if self.folder else ()

    def local(self, needed: Sequence[str]) -> Path:
        """The folder with the files, fetched if they are not here. needed: names, of which one must be among them.

        Raises DataError if something is missing, or can't be fetched.
        """
        if self.folder:
            _checked(self.folder, needed, self._called)
            return self.folder
        return self._kept(needed) or self._fetched(needed)

    @property
    def _called(self) -> str:
        there = f"folder {str(self.folder)!r}" if self.folder else f"hub {self.hub!r} at {str(self.revision)[:12]}"
        return f"{self.table}: {there}" if self.table else there

    def _kept(self, needed: Sequence[str]) -> Path | None:
        """Where the hub's cache has the model, if it has all of it."""
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            folder = self._snapshot(local_files_only=True)
            _checked(folder, needed, self._called)
        except (LocalEntryNotFoundError, DataError):
            return None
        return folder

    def _fetched(self, needed: Sequence[str]) -> Path:
        from huggingface_hub import constants

        if constants.HF_HUB_OFFLINE:
            raise DataError(
                f"{self._called} is not in the cache of the hub ({constants.HF_HUB_CACHE}), and HF_HUB_OFFLINE is set: "
                "unset it, or write folder = ... for a copy of the model"
            )
        try:
            folder = self._snapshot(local_files_only=False)
        except Exception as error:  # whatever the client, the network and the hub make of it
            said = (told(error) or type(error).__name__)[:200]
            raise DataError(
                f"{self._called} can't be fetched: {said}; "
                "write folder = ... for a copy of the model where there is no network"
            ) from error
        _checked(folder, needed, self._called)
        return folder

    def _snapshot(self, *, local_files_only: bool) -> Path:
        from huggingface_hub import snapshot_download

        return Path(
            snapshot_download(
                str(self.hub), revision=self.revision, allow_patterns=list(READ), local_files_only=local_files_only
            )
        )


def _checked(folder: Path, needed: Sequence[str], called: str) -> list[Path]:
    """The files of a model that are read. Raises DataError for the first that is missing."""
    if not folder.is_dir():
        raise DataError(f"{called} {'is a file' if folder.exists() else 'does not exist'}")
    every = list(folder.iterdir())
    files = [path for path in every if any(fnmatch(path.name, name) for name in READ)]
    names = {path.name for path in files}
    for wanted in ((CONFIG,), (WEIGHTS,), needed):
        if wanted and not any(fnmatch(name, one) for name in names for one in wanted):
            pickled = wanted == (WEIGHTS,) and any(path.suffix == ".bin" for path in every)
            hint = ": a pickle (.bin) is not read; save the model anew as safetensors" if pickled else ""
            raise DataError(f"{called} has no {' or '.join(wanted)}{hint}")
    return files
