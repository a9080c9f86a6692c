"""The file of a backup as a stream of bytes, sealed with a passphrase or not. Memory stays at some chunks.

A sealed file is `onionshh sealed backup 1\\n`, a salt, then chunks (crypto/passphrase.py).
"""

from __future__ import annotations

from typing import BinaryIO, Final, Protocol

from onionshh.crypto.passphrase import CHUNK, SALT, SEALED_CHUNK, ChunkCipher, passphrase_key
from onionshh.errors import BadData, CryptoError
from onionshh.ids import RandomBytes

HEAD: Final = b"onionshh sealed backup 1\n"


class Sink(Protocol):
    """Takes the bytes of a backup."""

    def write(self, data: bytes) -> object: ...


class Source(Protocol):
    """Gives the bytes of a backup: as many as were asked for, or fewer at its end."""

    def read(self, size: int, /) -> bytes: ...


class SealingSink:
    """Seals what is written to it. `close` writes the last chunk, and is needed."""

    def __init__(self, file: Sink, passphrase: str, random_bytes: RandomBytes) -> None:
        salt = random_bytes(SALT)
        self._file = file
        self._cipher = ChunkCipher(passphrase_key(passphrase, salt), HEAD + salt)
        self._waiting = bytearray()
        file.write(HEAD + salt)

    def write(self, data: bytes) -> None:
        """Seal and write all whole chunks but one."""
        self._waiting += data
        while len(self._waiting) > CHUNK:
            self._file.write(self._cipher.seal(bytes(self._waiting[:CHUNK]), last=False))
            del self._waiting[:CHUNK]

    def close(self) -> None:
        """Write what waits as the last chunk."""
        self._file.write(self._cipher.seal(bytes(self._waiting), last=True))
        self._waiting.clear()


class OpeningSource:
    """Opens what `SealingSink` has sealed. Raises BadData."""

    def __init__(self, file: Source, passphrase: str, salt: bytes) -> None:
        self._file = file
        self._cipher = ChunkCipher(passphrase_key(passphrase, salt), HEAD + salt)
        self._next = file.read(SEALED_CHUNK)
        self._ready = bytearray()
        self._over = False

    def read(self, size: int, /) -> bytes:
        """The next bytes."""
        while len(self._ready) < size and not self._over:
            chunk, self._next = self._next, self._file.read(SEALED_CHUNK)
            self._over = not self._next
            try:
                self._ready += self._cipher.open_untrusted(chunk, last=self._over)
            except CryptoError as error:
                raise BadData("The passphrase is not that of this backup, or the file is damaged.") from error
        data = bytes(self._ready[:size])
        del self._ready[:size]
        return data


def opened(file: BinaryIO, passphrase: str | None) -> Source:
    """The bytes of a backup from the beginning of its file. BadData if the passphrase is missing or wrong."""
    head = file.read(len(HEAD))
    if head != HEAD:
        file.seek(0)
        if passphrase is not None:
            raise BadData("This backup is not sealed; leave out --passphrase-file.")
        return file
    if passphrase is None:
        raise BadData("This backup is sealed; give the file of its passphrase with --passphrase-file.")
    return OpeningSource(file, passphrase, file.read(SALT))
