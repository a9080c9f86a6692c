"""Everything a program may do to the types of the compiled cipher, right and wrong.

`test_compiled.py` does it some thousand times, `make sanitize` a million times under the sanitizers of the
compiler: `python -m tests.crypto.hostile_calls 1000000`. With a second argument it does not matter how large
the process becomes: a sanitizer keeps what was freed for a while.
"""

from __future__ import annotations

import gc
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from onionshh.crypto import _uiv
from onionshh.crypto.uiv_python import Hashes
from onionshh.geometry import LAYER_KEYS, PAYLOAD, TAG

KEYS = bytes(range(LAYER_KEYS))
SEED = bytes(TAG)
GOOD = (bytes(TAG + 1), bytes(TAG), bytes(PAYLOAD))
TYPES: tuple[Any, ...] = (_uiv.UIVEncryptor, _uiv.UIVDecryptor)
BLOCKS_MOST = 1000
"""Blocks of memory that the interpreter itself may have more, however many calls there were. One that leaks
leaves 3 000 after the least number of calls that is used."""
BYTES_MOST = 1 << 20
"""What the process may have grown by. This sees OpenSSL's memory: a context is some hundred bytes."""


class Odd:
    """A hash that misbehaves."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def __call__(self, key: bytes) -> Odd:
        return self

    def encrypt(self, *_: object) -> Any:
        return self._answer() if callable(self._answer) else self._answer

    update = encrypt


def cell(layer: Any) -> Callable[..., tuple[bytes, bytes]]:
    """The method that takes a cell, in either direction."""
    method: Callable[..., tuple[bytes, bytes]] = getattr(layer, "encrypt", None) or layer.decrypt
    return method


def everything(times: int) -> None:
    """Each way to call it, and each way to be refused, so many times."""
    odd = Hashes(Odd(None), Odd(None))
    for _ in range(times):
        for made in TYPES:
            layer = made(KEYS)
            cell(layer)(*GOOD)
            layer.next_state(SEED)
            for call, wrong in (
                (cell(layer), (GOOD[0], SEED, SEED)),
                (cell(layer), GOOD[:2]),
                (cell(layer), (None, *GOOD[1:])),
                (layer.next_state, (GOOD[0],)),
                (made, (SEED,)),
                (made, (KEYS, object())),
                (made.__new__, (made,)),
                (cell(made(KEYS, odd)), GOOD),
            ):
                with suppress(ValueError, TypeError, AttributeError):
                    call(*wrong)
                    raise AssertionError("it was not refused")


def leaks(times: int) -> tuple[int, bool, int]:
    """(How many blocks of memory the interpreter has more after so many rounds, whether anything is referred
    to more often, how many bytes the process has grown by)."""
    everything(1000)
    things = (KEYS, SEED, *GOOD, *TYPES)
    gc.collect()
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    before, kept = sys.getallocatedblocks(), [sys.getrefcount(one) for one in things]
    everything(times)
    gc.collect()
    more = sys.getallocatedblocks() - before
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - size)
    return more, [sys.getrefcount(one) for one in things] != kept, grown


def main() -> None:
    calls = int(sys.argv[1])
    more, referred, grown = leaks(calls // 20)  # two types, ten calls of each
    if more > BLOCKS_MOST or referred or (len(sys.argv) == 2 and grown > BYTES_MOST):
        sys.exit(f"{calls} calls left {more} blocks and {grown} bytes; more references: {referred}")
    print(f"{calls} calls left nothing behind")


if __name__ == "__main__":
    main()
