"""A data folder in memory: nothing is on disk, and everything is lost when its node ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from onionshh.errors import DataInUse


class InMemory:
    """Like `DataDirectory`, for one process."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self._folders: dict[str, InMemory] = {}
        self._locked: set[str] = set()

    def read(self, name: str) -> bytes | None:
        """The data last written under this name, or None."""
        return self._files.get(name)

    def write(self, name: str, data: bytes) -> None:
        """Keep the data under this name, instead of what was there."""
        self._files[name] = data

    def inside(self, name: str) -> InMemory:
        """A folder in this folder, the same one each time."""
        return self._folders.setdefault(name, InMemory())

    def database(self, name: str) -> str:
        """SQLite's name for a database in memory. Each use is a new database."""
        return ":memory:"

    def named(self, name: str) -> str:
        """The name of a file, for people."""
        return f"{name} (in memory)"

    @contextmanager
    def lock(self, name: str = "lock") -> Iterator[None]:
        """Hold the lock alone until the block ends. DataInUse if somebody else holds it."""
        if name in self._locked:
            raise DataInUse("The same node is already using this folder.")
        self._locked.add(name)
        try:
            yield
        finally:
            self._locked.discard(name)

    def turn(self, name: str) -> AbstractContextManager[None]:
        """There is nobody else to wait for."""
        return nullcontext()
