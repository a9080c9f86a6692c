"""A data folder that is not there: everything in memory, nothing on disk, gone with its node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from onionshh.errors import DataInUse


class InMemory:
    """As `DataDirectory`, for one process."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self._folders: dict[str, InMemory] = {}
        self._locked: set[str] = set()

    def read(self, name: str) -> bytes | None:
        """What was last written under this name."""
        return self._files.get(name)

    def write(self, name: str, data: bytes) -> None:
        """Keep it, in the place of what was there."""
        self._files[name] = data

    def inside(self, name: str) -> InMemory:
        """A folder in this one, the same each time."""
        return self._folders.setdefault(name, InMemory())

    def database(self, name: str) -> str:
        """What SQLite calls a database in memory: a new one each time."""
        return ":memory:"

    def named(self, name: str) -> str:
        """For people."""
        return f"{name} (in memory)"

    @contextmanager
    def lock(self, name: str = "lock") -> Iterator[None]:
        """Hold it alone until the block ends; DataInUse when somebody does."""
        if name in self._locked:
            raise DataInUse("This is in use by the same node already.")
        self._locked.add(name)
        try:
            yield
        finally:
            self._locked.discard(name)

    def turn(self, name: str) -> AbstractContextManager[None]:
        """Nobody else is there to wait for."""
        return nullcontext()
