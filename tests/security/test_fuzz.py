"""Readers of files from strangers, fed damage: a result, or an MMBenchError; never another error, a hang, a file made.

Short here. `MMBENCH_FUZZ=5000 pytest -n 0 tests/security/test_fuzz.py` looks longer.
"""

import hashlib
import json
import zipfile
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbench import plugins
from mmbench.api.carrier import Carrier
from mmbench.board import report
from mmbench.board.gate.boards import boards
from mmbench.errors import MMBenchError
from mmbench.plugins import Catalog
from mmbench.store import reading, suitefile
from mmbench.store.chain import FIRST, to_line
from mmbench.trust import registration, seal, signature
from mmbench.trust.registration import PlannedCell, Registration
from mmbench.trust.verify import verify

FUZZ = settings.get_profile("fuzz")
STARTER = Path(__file__).parents[2] / "suites" / "starter.toml"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(
        [10**400, -(2**63) - 1, 1e308, -0.0, {"$float": "nan"}, {"$float": []}, {"$said": "x"}, {"$own": 1}]
    )
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value within a JSON value."""
    found = [path]
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        found += places(entry, (*path, key))
    return found


def put(value: Any, path: tuple[Any, ...], new: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


def cut(data: st.DataObject, content: bytes, words: list[bytes]) -> bytes:
    """A few bytes replaced, inserted or removed, anywhere."""
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(damaged)))
        stop = min(len(damaged), start + data.draw(st.sampled_from([0, 1, 4, 100])))
        damaged[start:stop] = data.draw(st.binary(max_size=8) | st.sampled_from(words))
    return bytes(damaged)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return plugins.load()


@pytest.fixture
def nothing_made(tmp_path: Path) -> Callable[[], None]:
    """Call it once all is in place, and at the end it looks for files that came since."""
    known: set[Path] = set()

    def check() -> None:
        found = set(tmp_path.rglob("*"))
        assert not known or found == known, found - known
        known.update(found)

    return check


@pytest.fixture
def folder(folder: Path) -> Path:
    """The run with all that makes it trustworthy: a plan, a seal, a signature, and the signer's public key."""
    run = reading.read_run(folder)
    cells = tuple(PlannedCell(r.task, r.contender, r.cell, r.space_hash) for r in run.records)
    digest = suitefile.suite_hash(run.suite)
    plan = Registration("small", digest, cells, device="cpu", mmbench="0", date=registration.now())
    registration.register(folder, plan, run.suite)
    (folder / "environment.json").write_text(json.dumps(dict(run.records[-1].environment)))
    seal.write(folder)
    key = Ed25519PrivateKey.generate()
    signature.write(folder, signature.sign((folder / seal.SEAL).read_bytes(), key))
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    (folder.parent / "signers").write_bytes(b"somebody " + public + b" a comment\n")
    registration.save(folder.parent / "plan.json", plan)
    return folder


def read_all(folder: Path, catalog: Catalog) -> None:
    """Everything that is made of a run folder without a lock, from the rows to the page; each by itself."""
    signers, plan = folder.parent / "signers", folder.parent / "plan.json"

    def show() -> None:
        for board in boards([reading.read_run(folder)], catalog.metrics):
            report.table(board.rows, 120)
            report.csv(board.rows)
            report.markdown(board.rows)
            report.latex(board.rows)
            json.loads(report.json(board.rows))

    def load() -> None:
        for record in reading.read_run(folder).records:
            for refit in record.refits:
                with suppress(MMBenchError):
                    reading.load_predictions(folder, refit)

    def examine() -> None:
        json.dumps(verify(folder, catalog, signers=signers, registered=registration.load(plan)).json())

    def recall() -> None:
        dict(reading.history(folder))

    readers = (reading.finished, registration.read, seal.compute, seal.name)
    for look in (show, load, recall, examine, lambda: verify(folder, catalog), *(partial(r, folder) for r in readers)):
        with suppress(MMBenchError):
            look()


def read_with(file: Path, content: bytes, *, folder: Path, catalog: Catalog) -> None:
    """Read all while the file has that content."""
    sound = file.read_bytes()
    file.write_bytes(content)
    try:
        read_all(folder, catalog)
    finally:
        file.write_bytes(sound)


def test_what_is_damaged_below_is_sound(folder: Path, catalog: Catalog) -> None:
    """Else the readers would stop before they get to what the tests change."""
    plan = registration.load(folder.parent / "plan.json")
    found = verify(folder, catalog, signers=folder.parent / "signers", registered=plan)
    assert not {"chain", "seal", "signature", "environment"} & {finding.check for finding in found.findings}
    assert found.plan == plan.hash
    assert found.signer


FILES = (
    *("suite.toml", "trials.jsonl", "records.jsonl", "predictions"),
    *("environment.json", "plan.jsonl", "seal.json", "seal.json.sig", "../signers", "../plan.json"),
)
WORDS = [b"\n", b'{"', b"[" * 2000, b"9" * 5000, b"\x00", b"NaN", b'"schema": 2', b"-----END SSH SIGNATURE-----"]


@settings(FUZZ)
@given(data=st.data())
@pytest.mark.parametrize("name", FILES)
def test_bytes_of_a_run_folder(
    folder: Path, catalog: Catalog, nothing_made: Any, data: st.DataObject, name: str
) -> None:
    nothing_made()
    files = sorted((folder / name).iterdir()) if name == "predictions" else [folder / name]
    file = data.draw(st.sampled_from(files))
    read_with(file, cut(data, file.read_bytes(), WORDS), folder=folder, catalog=catalog)
    nothing_made()


def spoilt(data: st.DataObject, value: Any) -> Any:
    """The JSON value with something else in one place."""
    put(value, data.draw(st.sampled_from(places(value)[1:])), deepcopy(data.draw(JSON)))
    return value


@settings(FUZZ)
@given(data=st.data())
@pytest.mark.parametrize("name", ["records.jsonl", "trials.jsonl", "plan.jsonl"])
def test_values_of_rows_with_right_checksums(
    folder: Path, catalog: Catalog, nothing_made: Any, data: st.DataObject, name: str
) -> None:
    """What an attacker writes who knows how to make a chain."""
    nothing_made()
    lines = [json.loads(line) for line in (folder / name).read_bytes().splitlines()]
    for _ in range(data.draw(st.integers(1, 3))):
        spoilt(data, data.draw(st.sampled_from(lines))["row"])
    if name == "plan.jsonl" and data.draw(st.booleans()):
        lines[0]["row"] = with_own_hash(lines[0]["row"])
    previous, content = FIRST, b""
    for number, line in enumerate(lines):
        made, previous = to_line(number, previous, line["kind"], line["row"])
        content += made
    read_with(folder / name, content, folder=folder, catalog=catalog)
    nothing_made()


def with_own_hash(plan: Any) -> Any:
    """The registration with the hash that its cells make, where they are cells at all."""
    with suppress(KeyError, TypeError):
        keys = [cell["cell"] for cell in plan["cells"]]
        plan["hash"] = hashlib.sha256(json.dumps(keys).encode()).hexdigest()[:20]
    return plan


@settings(FUZZ)
@given(data=st.data())
@pytest.mark.parametrize("name", ["seal.json", "environment.json", "../plan.json"])
def test_values_of_files_that_speak_for_a_run(
    folder: Path, catalog: Catalog, nothing_made: Any, data: st.DataObject, name: str
) -> None:
    nothing_made()
    value = spoilt(data, json.loads((folder / name).read_bytes()))
    if name == "../plan.json" and data.draw(st.booleans()):
        value = with_own_hash(value)
    read_with(folder / name, json.dumps(value).encode(), folder=folder, catalog=catalog)
    nothing_made()


@settings(FUZZ)
@given(data=st.data())
def test_bytes_within_the_armour_of_a_signature(folder: Path, catalog: Catalog, data: st.DataObject) -> None:
    """Lengths that lie, fields that are missing, keys of other types."""
    file = folder / signature.SIGNATURE
    blob = b64decode("".join(file.read_text().split("\n")[1:-2]))
    made = cut(data, blob, [b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"ssh-rsa", b"SSHSIG", b"\x00\x00\x00\x01"])
    armoured = b"\n".join([signature.BEGIN.encode(), b64encode(made), signature.END.encode()])
    read_with(file, armoured, folder=folder, catalog=catalog)
    signer = signature.allowed_keys(folder.parent / "signers")[0]
    with suppress(ValueError):
        named = signature.verify((folder / seal.SEAL).read_bytes(), armoured.decode())
        assert signature.fingerprint(named) == signature.fingerprint(signer), "nobody else can have signed"


@settings(FUZZ)
@given(data=st.data())
def test_bytes_of_a_suite(tmp_path: Path, nothing_made: Any, data: st.DataObject) -> None:
    path = tmp_path / "suite.toml"
    words = [b"[[", b"={", b".", b"'''", b"a.b.c.d = 1\n", b"0x" + b"f" * 900, b"1e999", b"nan", b"\xe2\x80\xae"]
    path.write_bytes(cut(data, STARTER.read_bytes(), words))
    nothing_made()
    with suppress(MMBenchError):
        suite = suitefile.read(path)
        path.write_text(suitefile.write(suite))
        assert suitefile.read(path) == suite, "what is stored reads back"
    nothing_made()


@settings(FUZZ)
@given(data=st.data())
def test_bytes_of_a_carrier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject) -> None:
    """One whose hash is right, as its author says which it is."""
    monkeypatch.setenv("MMBENCH_CACHE", str(tmp_path / "cache"))
    name = data.draw(
        st.sampled_from(["a/b.txt", "../b.txt", "/b.txt", "a//../../b.txt", "C:b", "a\\b", "a", "", "a/\x00"])
    )
    wheel = tmp_path / "made.whl"
    with zipfile.ZipFile(wheel, "w", data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))) as archive:
        archive.writestr("a/c.txt", b"one" * 50)
        archive.writestr(name or "x", b"two" * 50)
    content = cut(data, wheel.read_bytes(), [b"PK\x01\x02", b"PK\x03\x04", b"../", b"\xff\xff\xff\xff"])
    wheel.unlink()
    carrier = Carrier("fuzz", "1", hashlib.sha256(content).hexdigest(), len(content), "CC0")
    carrier.path.parent.mkdir(parents=True, exist_ok=True)
    carrier.path.write_bytes(content)
    for look in (lambda: carrier.read("a/c.txt"), lambda: carrier.extract("a"), lambda: carrier.extract([name])):
        with suppress(MMBenchError):
            look()
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    kept = {path.name.split("-")[0] for path in (tmp_path / "cache" / "carriers").iterdir()}
    assert kept <= {"fuzz", "extracted"}


@settings(FUZZ)
@given(content=st.binary(max_size=200) | st.text(max_size=80).map(str.encode), head=st.booleans())
def test_any_bytes_as_any_file(tmp_path: Path, catalog: Catalog, content: bytes, head: bool) -> None:
    place = tmp_path / "run"
    place.mkdir(exist_ok=True)
    (place / "suite.toml").write_bytes(STARTER.read_bytes() if head else content)
    for name in ("records.jsonl", "trials.jsonl"):
        (place / name).write_bytes(content)
    for name in FILES[4:]:
        (place / name).write_bytes(content)
    read_all(place, catalog)
