"""Lets each call that the compiled cipher makes to OpenSSL fail, one after the other.

    LD_PRELOAD=LIBRARY python -m tests.crypto.failing LIBRARY

The library is `failing_openssl.c`. Each failure must be an exception and no result, leave nothing in the
queue of errors of OpenSSL, where ssl would take it for its own, and leave the object as good as before.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from onionshh.crypto import _uiv
from tests.crypto.hostile_calls import GOOD, KEYS, SEED, TYPES, cell

SOURCE = Path(__file__).parent / "failing_openssl.c"


def build(compiler: str, library: Path) -> None:
    """Compile the library. CalledProcessError."""
    command = [compiler, "-shared", "-fPIC", "-O1", str(SOURCE), "-lcrypto", "-ldl", "-o", str(library)]
    subprocess.run(command, check=True, capture_output=True)


def sweep(openssl: ctypes.CDLL, call: Callable[[], Any], status: int) -> int:
    """Let each call to OpenSSL that `call` makes fail; returns how many there were."""
    at = 0
    while True:
        openssl.fail_at(at, status)
        try:
            result = call()
        except RuntimeError:
            result = None
        seen = openssl.calls_seen()
        openssl.fail_at(-1, 0)
        if seen <= at:
            return at
        if result is not None:
            sys.exit(f"call {at} to OpenSSL failed, and there was a result")
        if openssl.errors_left():
            sys.exit(f"call {at} to OpenSSL failed, and its error was left behind")
        at += 1


def main() -> None:
    openssl = ctypes.CDLL(sys.argv[1])
    openssl.errors_left.restype = ctypes.c_ulong
    failed = 0
    for made in TYPES:
        layer = made(KEYS)
        expected = cell(layer)(*GOOD), layer.next_state(SEED)
        failed += sweep(openssl, partial(made, KEYS), 0)
        for call in (partial(cell(layer), *GOOD), partial(layer.next_state, SEED)):
            failed += sweep(openssl, call, 0)
        failed += sweep(openssl, partial(cell(layer), *GOOD), 0)
        if (cell(layer)(*GOOD), layer.next_state(SEED)) != expected:
            sys.exit("a layer is not what it was before OpenSSL failed")
    print(f"{failed} failures of OpenSSL in {Path(_uiv.__file__).name}, each an exception")


if __name__ == "__main__":
    main()
