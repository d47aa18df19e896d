"""The contract of encoders on models of the hub: texts frozen, pictures and sounds tuned."""

from pathlib import Path
from typing import Any

import pytest
from mmbench_hf.form import make

import mmbench as mb
from mmbench.api.space import Space
from mmbench.testing.encoder import EncoderContract
from tests.plugins import tiny

TUNED: Space = {"weights": mb.Choice(("tuned",), default="tuned", stage="prepare"), "top": mb.Int(1, 3, default=2)}


def part(kind: str, folder: Path, **space: Any) -> type[mb.Encoder]:
    made = make("mine", {"type": kind, "folder": str(folder)}, Path("/"))
    assert made is not None
    own = {"space": {**made.space, **space}, "__doc__": type(made).__doc__, "cohort": not space}
    return type("Part", (type(made),), own)


@pytest.fixture(scope="module", autouse=True)
def _parts(tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("tiny")
    TestText.part = part("hf_text", tiny.bert(place / "bert"))
    TestImage.part = part("hf_image", tiny.vit(place / "vit"), **TUNED)
    seconds = mb.Float(0.1, 0.2, default=0.2, stage="prepare")
    TestAudio.part = part("hf_audio", tiny.wav2vec2(place / "sounds"), **TUNED, seconds=seconds)


class TestText(EncoderContract):
    pass


@pytest.mark.slow
class TestImage(EncoderContract):
    configurations = 2


@pytest.mark.slow
class TestAudio(EncoderContract):
    configurations = 3
