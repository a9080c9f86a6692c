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
    """All secrets of one endpoint (SPEC 9). Whoever has them is the endpoint. Others need the address alone.

    - `address: str`. The endpoint's address, `shh1…`, 63 characters.

    `Node.host` takes an identity or the path of its file, so a program needs this class only when it makes or
    keeps identities by itself.

    ```python
    import onionshh


    async def main(node: onionshh.Node) -> None:
        identity = onionshh.Identity.generate()
        identity.save("keys/identity")
        print(onionshh.Identity.load("keys/identity").address == identity.address)  # True
        print(onionshh.Identity.load_or_create("keys/identity").address == identity.address)  # True
        async with node.host(identity) as endpoint:
            print(endpoint.address == identity.address)  # True
        try:
            onionshh.Identity.generate().save("keys/identity")
        except onionshh.BadData as error:
            print(error)  # keys/identity holds another identity; …
    ```
    """

    __slots__ = ()

    @classmethod
    def generate(cls, random_bytes: RandomBytes = os.urandom) -> Self:
        """A new identity. `random_bytes(n)` returns n random bytes; by itself the system's are used."""
        return super().generate(random_bytes)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """The identity in a file.

        Raises BadData when there is no such file or no identity of ours in it, ValueError for a path that
        names no file.
        """
        identity = cls._load_if_there(_file(path))
        if identity is None:
            raise BadData(f"There is no {path}: make an identity with Identity.generate() and save it there.")
        return identity

    def save(self, path: Path | str) -> None:
        """Write it to a file that its owner alone can read (mode 0600), whole or not at all. Missing folders
        are made. Saving the same identity again does no harm; another identity is never written over.

        Raises BadData when another identity is there or the file cannot be written, ValueError for a path
        that names no file.
        """
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
        """The identity in a file. If there is no such file, a new identity is made and saved there.

        Raises what `load` and `save` raise.
        """
        path = _file(path)
        identity = cls._load_if_there(path)
        if identity is None:
            identity = cls.generate(random_bytes)
            try:
                identity.save(path)
            except BadData:
                # When two processes start at once, both must get the identity that was saved first.
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
            raise BadData(f"{path} is not an identity, or is damaged; restore it from a backup.") from error

    def __repr__(self) -> str:
        return "Identity()"


def _file(path: Path | str) -> Path:
    path = Path(path)
    if not path.name:
        raise ValueError("An identity needs the path of its file, and this path names no file.")
    return path
