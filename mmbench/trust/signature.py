"""Signatures by ordinary SSH keys, in OpenSSH's own format: `ssh-keygen -Y verify` accepts what `sign` writes, and
`verify` accepts what `ssh-keygen -Y sign -n mmbench` writes.

The cryptography library (the extra "sign") does the arithmetic and reads the keys; here only the envelope is packed,
as OpenSSH's PROTOCOL.sshsig has it. Ed25519 keys only. Used by `verify` and by `mmbench sign`.
"""

import base64
import binascii
import hashlib
import shlex
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench.errors import MMBenchError
from mmbench.store.chain import content_of, write_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE = "seal.json.sig"
NAMESPACE = "mmbench"
"""What the signature is for: one made for git or a file is none for a run."""
KEY_TYPE = "ssh-ed25519"
BEGIN, END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_MAGIC, _VERSION = b"SSHSIG", 1
_HASHES = {"sha512": hashlib.sha512, "sha256": hashlib.sha256}
_LARGEST = 100_000


def sign(content: bytes, key: "Ed25519PrivateKey") -> str:
    """The armoured signature of `content`."""
    digest = hashlib.sha512(content).digest()
    signature = key.sign(_signed(NAMESPACE, "sha512", digest))
    blob = _MAGIC + struct.pack(">I", _VERSION)
    blob += _string(_public_blob(key.public_key())) + _string(NAMESPACE.encode()) + _string(b"") + _string(b"sha512")
    blob += _string(_string(KEY_TYPE.encode()) + _string(signature))
    text = base64.b64encode(blob).decode()
    return "\n".join([BEGIN, *(text[at : at + 70] for at in range(0, len(text), 70)), END]) + "\n"


def verify(content: bytes, armoured: str) -> "Ed25519PublicKey":
    """The key whose signature of `content` this is. Raises ValueError, saying what is wrong, if it is none's."""
    _require()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    fields = _Fields(_unarmoured(armoured))
    if fields.take(len(_MAGIC)) != _MAGIC or fields.number() != _VERSION:
        raise ValueError("is no SSH signature of version 1")
    key_blob, namespace, _, algorithm = fields.string(), fields.string(), fields.string(), fields.string().decode()
    signed = _Fields(fields.string())
    fields.end()
    if namespace != NAMESPACE.encode():
        raise ValueError(f"was made for {namespace[:40]!r}, not for {NAMESPACE!r}")
    if algorithm not in _HASHES:
        raise ValueError(f"uses the hash {algorithm[:40]!r}; sha512 and sha256 are allowed")
    public = _Fields(key_blob)
    types = (public.string(), signed.string())
    if types != (KEY_TYPE.encode(), KEY_TYPE.encode()):
        raise ValueError(f"is by a key of type {types[0][:40]!r}; only {KEY_TYPE} is read here")
    key, signature = Ed25519PublicKey.from_public_bytes(public.string()), signed.string()
    public.end()
    signed.end()
    try:
        key.verify(signature, _signed(namespace.decode(), algorithm, _HASHES[algorithm](content).digest()))
    except InvalidSignature as error:
        raise ValueError("does not fit seal.json: one of them was changed, or it was made for another seal") from error
    return key


def _signed(namespace: str, algorithm: str, digest: bytes) -> bytes:
    return _MAGIC + b"".join(map(_string, (namespace.encode(), b"", algorithm.encode(), digest)))


def _string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


class _Fields:
    """Reads SSH's binary fields, one after the other. Raises ValueError where they end early or late."""

    def __init__(self, content: bytes) -> None:
        self._rest = content

    def take(self, size: int) -> bytes:
        if size > len(self._rest):
            raise ValueError("is cut short")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def number(self) -> int:
        found: int = struct.unpack(">I", self.take(4))[0]
        return found

    def string(self) -> bytes:
        return self.take(self.number())

    def end(self) -> None:
        if self._rest:
            raise ValueError("has bytes after its end")


def _unarmoured(text: str) -> bytes:
    lines = text.split()
    joined = " ".join(lines)
    if not (joined.startswith(BEGIN) and joined.endswith(END)):
        raise ValueError(f"does not begin with {BEGIN}")
    try:
        return base64.b64decode("".join(joined[len(BEGIN) : -len(END)].split()), validate=True)
    except binascii.Error as error:
        raise ValueError(f"is no base64: {error}") from error


def _public_blob(key: "Ed25519PublicKey") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return _string(KEY_TYPE.encode()) + _string(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def fingerprint(key: "Ed25519PublicKey") -> str:
    """As `ssh-keygen -l` shows it: "SHA256:..."."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(_public_blob(key)).digest()).decode().rstrip("=")


def private_key(path: Path, ask: Callable[[], str]) -> "Ed25519PrivateKey":
    """Read an SSH private key; `ask` is asked for the passphrase if it has one. Raises MMBenchError if it is no
    Ed25519 key, or the passphrase is wrong."""
    _require()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    content, passphrase = _content(path), None
    key: Any
    try:
        try:
            key = load_ssh_private_key(content, None)
        except TypeError:  # it has a passphrase
            passphrase = ask().encode()
            key = load_ssh_private_key(content, passphrase)
    except UnsupportedAlgorithm as error:
        raise MMBenchError(
            f"{path}: {error}; `pip install mmbench[sign]` brings what a key with a passphrase needs"
        ) from error
    except (ValueError, TypeError) as error:
        what = "this is no OpenSSH private key" if passphrase is None else "the passphrase is wrong, or the key damaged"
        raise MMBenchError(f"{path}: {what}: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise MMBenchError(f"{path} is no Ed25519 key; make one with `ssh-keygen -t ed25519`")
    return key


def allowed_keys(path: Path) -> "list[Ed25519PublicKey]":
    """The Ed25519 keys of a public key file, or of a list of them in the form of OpenSSH's allowed_signers.

    Raises MMBenchError if there are none, or a line has options that are not understood here.
    """
    _require()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    keys: list[Any] = []
    for number, line in enumerate(_content(path).decode(errors="replace").splitlines(), 1):
        try:
            blob = _key_of(line)
            if blob is not None:
                keys.append(load_ssh_public_key(f"{KEY_TYPE} {blob}".encode()))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise MMBenchError(f"{path}, line {number}: {error}") from error
    if not keys:
        raise MMBenchError(f"{path} has no {KEY_TYPE} key that may sign for {NAMESPACE}")
    return keys


def _key_of(line: str) -> str | None:
    """The key in base64; None if the line has none for us."""
    if not line.strip() or line.lstrip().startswith("#"):
        return None
    words = shlex.split(line)
    if KEY_TYPE not in words:
        return None
    place = words.index(KEY_TYPE)
    if place + 1 == len(words):
        raise ValueError(f"there is no key after {KEY_TYPE}")
    for option in words[1:place]:  # the first word names whose key it is
        name, _, value = option.partition("=")
        if name.lower() != "namespaces":
            raise ValueError(
                f"option {name!r} is not understood here; check with `ssh-keygen -Y verify -n {NAMESPACE}`"
            )
        if NAMESPACE not in value.split(","):
            return None
    return words[place + 1]


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST)
    except OSError as error:
        raise MMBenchError(f"{path} can't be read: {error.strerror}") from error


def stored(folder: Path) -> str | None:
    """The run's signature; None if it has none."""
    content = content_of(folder / SIGNATURE, _LARGEST)
    return None if content is None else content.decode(errors="replace")


def write(folder: Path, armoured: str) -> Path:
    """Put the signature beside the seal, in place of an earlier one."""
    write_file(folder / SIGNATURE, armoured.encode())
    return folder / SIGNATURE


def _require() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise MMBenchError(
            "signatures need the cryptography library: `pip install mmbench[sign]`, or use `ssh-keygen -Y verify`"
        ) from error
