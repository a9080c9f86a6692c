"""What a fuzz target is, and the one rule that holds for all of them.

Bytes from the network are hostile: whatever they are, a door returns, or raises ProtocolError and nothing
else, within bounded time. A few doors read what people type or save; these raise their own `Error` instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from onionshh.core.link.outbox import Memory
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason

SECONDS_MOST = 2.0
"""Of the processor, for one input: a hundred times what the slowest takes."""


class Fault(Exception):
    """An input that breaks the rule; the message says how."""


class Left(Exception):
    """Something is left of what is over: memory still charged, a circuit that nobody ends."""


@dataclass(frozen=True, slots=True)
class Target:
    """One door. `name`: the function, dotted, and after a colon what is done to the bytes before, as
    "signed", so that they reach what stands behind a seal. `seeds`: what the real encoders make, and `run`
    takes without an error. `refuses`: what `run` may raise."""

    name: str
    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    refuses: type[Exception] = ProtocolError


def check(target: Target, data: bytes) -> None:
    """The rule. Fault."""
    began = time.process_time()
    try:
        target.run(data)
    except target.refuses as error:
        if isinstance(error, ProtocolError) and not isinstance(error.reason, Reason):
            raise Fault(f"{target.name} gives the reason {error.reason!r}, which is none of ours") from error
    except Exception as error:
        raise Fault(f"{target.name} raised {type(error).__name__}: {error}") from error
    took = time.process_time() - began
    if took > SECONDS_MOST:
        raise Fault(f"{target.name} took {took:.1f} s")


class Script:
    """Bytes read as the steps of a script, for a door that takes more than one argument or one input."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def over(self) -> bool:
        """Whether nothing is left."""
        return self._at >= len(self._data)

    def take(self, most: int) -> bytes:
        """The next bytes; fewer at the end."""
        taken = self._data[self._at : self._at + most]
        self._at += most
        return taken

    def number(self, size: int) -> int:
        """A number of so many bytes; what is missing at the end counts as 0."""
        return int.from_bytes(self.take(size).ljust(size, b"\0"), "big")

    def string(self) -> bytes:
        """Bytes with a length of two before them, as `string` writes them."""
        return self.take(self.number(2))

    def filled(self, size: int) -> bytes:
        """Exactly so many bytes: a string, cut, or filled with zeros."""
        return self.string()[:size].ljust(size, b"\0")

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data))


def string(data: bytes) -> bytes:
    """Bytes as `Script.string` reads them."""
    return len(data).to_bytes(2, "big") + data


def given_back(memory: Memory) -> None:
    """Nothing of the quota is taken, once all is over. Left."""
    if memory.used_bytes:
        raise Left(f"{memory.used_bytes} bytes of memory are still charged")
