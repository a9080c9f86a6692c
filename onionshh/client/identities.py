"""An endpoint's identity on disk: the one file that must be backed up (SPEC 9)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from onionshh.advice import advice
from onionshh.crypto.identity import IdentityKeys
from onionshh.errors import BadData, ProtocolError
from onionshh.ids import RandomBytes
from onionshh.net.store import DataDirectory, atomic_write, read_file

FILE_BYTES_MOST = 4096


class Identity(IdentityKeys):
    """All secrets of one endpoint. Whoever has them is the endpoint; others need its `address` alone."""

    __slots__ = ()

    @classmethod
    def generate(cls, random_bytes: RandomBytes = os.urandom) -> Self:
        """A new one, of random bytes of the system's."""
        return super().generate(random_bytes)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """That of a file. Raises BadData, also when there is no such file."""
        identity = cls._load_if_there(_file(path))
        if identity is None:
            raise BadData(f"There is no {path}: make an identity with Identity.generate() and save it there.")
        return identity

    def save(self, path: Path | str) -> None:
        """Write it to a file for its owner alone (0600), whole or not at all; folders are made. Another
        identity that is there is left there. Raises BadData."""
        path = _file(path)
        there = self._load_if_there(path)
        if there is None:
            DataDirectory(path.absolute().parent)
            try:
                atomic_write(path, self.to_bytes(), new=True)
                return
            except FileExistsError:  # another process was faster
                there = self._load_if_there(path)
            except OSError as error:
                raise BadData(f"Cannot write {path}: {error.strerror}{advice(error)}.") from error
        if there is None or there.address != self.address:
            raise BadData(f"{path} holds another identity; move that away first, or choose another name.")

    @classmethod
    def load_or_create(cls, path: Path | str, random_bytes: RandomBytes = os.urandom) -> Self:
        """That of a file, made and saved if there is none. Raises BadData, and ValueError for an empty
        path."""
        path = _file(path)
        identity = cls._load_if_there(path)
        if identity is None:
            identity = cls.generate(random_bytes)
            try:
                identity.save(path)
            except BadData:
                # Of two that start at once both are to have the one that stays.
                saved = cls._load_if_there(path)
                if saved is None:
                    raise
                identity = saved
        return identity

    @classmethod
    def _load_if_there(cls, path: Path) -> Self | None:
        data = read_file(path, FILE_BYTES_MOST, secret=True)
        if data is None:
            return None
        try:
            return cls.from_bytes_untrusted(data)
        except ProtocolError as error:
            raise BadData(f"{path} is no identity of ours, or damaged; restore it from a backup.") from error

    def __repr__(self) -> str:
        return "Identity()"


def _file(path: Path | str) -> Path:
    path = Path(path)
    if not path.name:
        raise ValueError("An identity needs the path of its file, and this one names none.")
    return path
