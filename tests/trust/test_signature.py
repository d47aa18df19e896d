"""Signatures: what we sign OpenSSH accepts, what OpenSSH signs we accept, and nothing else."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("cryptography")

from mmbench.errors import MMBenchError
from mmbench.trust import seal, signature

if TYPE_CHECKING:
    from tests.trust.conftest import Examine, Forger

KEYGEN = shutil.which("ssh-keygen")
pytestmark = pytest.mark.skipif(KEYGEN is None, reason="ssh-keygen is not installed")
Keys = Callable[..., Path]


def ssh(*words: object, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run([str(KEYGEN), *map(str, words)], input=stdin, capture_output=True, check=False)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Makes a key pair by ssh-keygen; gives the private one's path."""

    def make(name: str = "alice", *, kind: str = "ed25519", passphrase: str = "") -> Path:
        path = tmp_path / name
        done = ssh("-q", "-t", kind, "-N", passphrase, "-C", f"{name}@example.org", "-f", path)
        assert done.returncode == 0, done.stderr
        return path

    return make


def never() -> str:
    raise AssertionError("nobody should be asked for a passphrase")


def public(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")


def sign(folder: Path, key: Path) -> None:
    content = seal.stored(folder)
    assert content is not None
    signature.write(folder, signature.sign(content, signature.private_key(key, never)))


def allowed(key: Path, path: Path, *, options: str = "") -> Path:
    path.write_text(f"# who may sign\n\nalice@example.org {options} {public(key).read_text()}")
    return path


def test_a_signed_run_is_clean_and_names_its_signer(forger: "Forger", examine: "Examine", keys: Keys) -> None:
    key = keys()
    sign(forger.folder, key)
    report = examine(forger.folder, signers=public(key))
    assert report.findings == []
    shown = ssh("-l", "-f", public(key)).stdout.decode().split()[1]
    assert report.signer == shown
    assert examine(forger.folder, signers=allowed(key, key.with_name("allowed"))).clean
    assert any(note.startswith(f"signed by {shown}") for note in examine(forger.folder).notes)


def test_openssh_accepts_what_we_sign(forger: "Forger", keys: Keys) -> None:
    key = keys()
    sign(forger.folder, key)
    content = seal.stored(forger.folder) or b""
    words = ["-Y", "verify", "-f", allowed(key, key.with_name("allowed")), "-I", "alice@example.org", "-n", "mmbench"]
    words += ["-s", forger.folder / signature.SIGNATURE]
    good, bad = ssh(*words, stdin=content), ssh(*words, stdin=content + b" ")
    assert (good.returncode, bad.returncode) == (0, 255), good.stderr
    assert b'Good "mmbench" signature for alice@example.org' in good.stdout


def test_we_accept_what_openssh_signs(forger: "Forger", examine: "Examine", keys: Keys) -> None:
    key = keys()
    done = ssh("-Y", "sign", "-f", key, "-n", "mmbench", forger.folder / seal.SEAL)
    assert done.returncode == 0, done.stderr
    assert examine(forger.folder, signers=public(key)).clean


def test_a_signature_for_another_purpose_is_none(forger: "Forger", examine: "Examine", keys: Keys) -> None:
    key = keys()
    ssh("-Y", "sign", "-f", key, "-n", "git", forger.folder / seal.SEAL)
    assert "was made for b'git', not for 'mmbench'" in str(examine(forger.folder, signers=public(key)).findings)


def test_another_signer_is_found(forger: "Forger", examine: "Examine", keys: Keys) -> None:
    alice, mallory = keys(), keys("mallory")
    sign(forger.folder, mallory)
    (found,) = examine(forger.folder, signers=public(alice)).findings
    assert found.check == "signature"
    assert "a key that is not in" in str(found)


def test_a_missing_signature_is_found(forger: "Forger", examine: "Examine", keys: Keys) -> None:
    (found,) = examine(forger.folder, signers=public(keys())).findings
    assert str(found) == "seal.json.sig: is missing: the run is not signed"


def test_a_forgery_sealed_anew_breaks_the_signature(forger: "Forger", examine: "Examine", keys: Keys) -> None:
    key = keys()
    sign(forger.folder, key)
    forger.change("trials.jsonl", lambda kind, row: row.update(epochs=1) if kind == "trial" else None)
    forger.seal()
    found = [f for f in examine(forger.folder, signers=public(key)).findings if f.check == "signature"]
    assert "does not fit seal.json" in str(found)


def test_a_damaged_signature_is_found_wherever_it_is_damaged(honest: Path, keys: Keys) -> None:
    key = keys()
    content = seal.stored(honest) or b""
    armoured = signature.sign(content, signature.private_key(key, never))
    signature.verify(content, armoured)
    for place in range(len(signature.BEGIN), armoured.index(signature.END)):
        if armoured[place] not in "=\n":
            other = "A" if armoured[place] != "A" else "B"
            with pytest.raises(ValueError, match=r"\w"):
                signature.verify(content, armoured[:place] + other + armoured[place + 1 :])


@pytest.mark.parametrize(
    "text", ["", "junk", f"{signature.BEGIN}\nAAAA\n{signature.END}", signature.BEGIN, "\x00" * 99]
)
def test_nonsense_is_no_signature(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        signature.verify(b"", text)


def test_a_key_with_a_passphrase(keys: Keys) -> None:
    pytest.importorskip("bcrypt")
    key = keys(passphrase="correct horse")
    signature.private_key(key, lambda: "correct horse")
    with pytest.raises(MMBenchError, match="passphrase is wrong"):
        signature.private_key(key, lambda: "battery staple")


def test_other_keys_are_refused_in_a_line(keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(MMBenchError, match="is no Ed25519 key; make one with"):
        signature.private_key(keys("other", kind="ecdsa"), never)
    with pytest.raises(MMBenchError, match="no OpenSSH private key"):
        signature.private_key(public(keys()), never)
    with pytest.raises(MMBenchError, match="can't be read: No such file"):
        signature.private_key(tmp_path / "none", never)
    with pytest.raises(MMBenchError, match="has no ssh-ed25519 key"):
        signature.allowed_keys(public(tmp_path / "other"))


def test_options_of_allowed_signers_hold(keys: Keys, tmp_path: Path) -> None:
    key = keys()
    signature.allowed_keys(allowed(key, tmp_path / "list", options='namespaces="git,mmbench"'))
    with pytest.raises(MMBenchError, match="has no ssh-ed25519 key that may sign for mmbench"):
        signature.allowed_keys(allowed(key, tmp_path / "list", options='namespaces="git"'))
    with pytest.raises(MMBenchError, match="option 'valid-before' is not understood here"):
        signature.allowed_keys(allowed(key, tmp_path / "list", options='valid-before="20200101"'))
