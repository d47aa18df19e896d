"""Messages on a pipe: each with its mark, its length and a checksum, so that whatever else is written there is noticed.

A part shares its process with the worker and may write anywhere. What it writes into the pipe must neither be taken for
a message, nor let the reader wait for bytes that never come.
"""

import os
import struct
import sys
import zlib
from collections.abc import Iterator
from multiprocessing.connection import Connection

HEAD = struct.Struct("!4sQII")
"""The mark, the length of what follows, its checksum, and the checksum of these three."""
MARK = b"mmb\x01"


AT_ONCE = 2**26
"""Bytes that are taken from one pipe before another has its turn."""


class GarbledError(ValueError):
    """Bytes that are no message; says in a few words why."""


def frame(content: bytes) -> bytes:
    """One message, as it stands on the pipe."""
    return _head(len(content), zlib.crc32(content)) + content


def _head(length: int, checksum: int) -> bytes:
    own = zlib.crc32(struct.pack("!QI", length, checksum), zlib.crc32(MARK))
    return HEAD.pack(MARK, length, checksum, own)


def write(connection: Connection, content: bytes) -> None:
    """Write one message, all of it."""
    if sys.platform == "win32":
        connection.send_bytes(frame(content))
        return
    rest = memoryview(frame(content))
    while rest:
        rest = rest[os.write(connection.fileno(), rest) :]


def read(connection: Connection) -> bytes:
    """What is there now, without waiting for more; nothing, if nothing is. Raises EOFError if nothing will come."""
    if sys.platform == "win32":
        return connection.recv_bytes() if connection.poll() else b""
    os.set_blocking(connection.fileno(), False)
    found = bytearray()
    while len(found) < AT_ONCE:
        try:
            piece = os.read(connection.fileno(), 2**20)
        except BlockingIOError:
            break
        if not piece:
            if found:
                break  # the next read tells
            raise EOFError
        found += piece
    return bytes(found)


class Frames:
    """Takes what comes off a pipe, in pieces of any size, and gives the messages that are whole."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Raises GarbledError as soon as something is no message."""
        self._held += piece
        while len(self._held) >= HEAD.size:
            _, length, checksum, _ = HEAD.unpack_from(self._held)
            if not self._held.startswith(_head(length, checksum)):
                raise GarbledError(f"{bytes(self._held[:20])!r}")
            if len(self._held) < HEAD.size + length:
                return
            content = bytes(memoryview(self._held)[HEAD.size : HEAD.size + length])
            if zlib.crc32(content) != checksum:
                raise GarbledError("a message with something in the middle")
            del self._held[: HEAD.size + length]
            yield content
        if not MARK.startswith(bytes(self._held[: len(MARK)])) and self._held:
            raise GarbledError(f"{bytes(self._held[:20])!r}")
