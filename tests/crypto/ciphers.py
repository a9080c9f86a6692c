"""The ciphers that are there: the one in Python, and the compiled one where it was built."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import partial

import pytest

from onionshh.crypto import uiv_python
from onionshh.crypto.uiv import PYTHON, Cipher, compiled
from tests.crypto.polyval import POLYVAL

COMPILED = compiled()
CIPHERS = [PYTHON] if COMPILED is None else [PYTHON, COMPILED]
each = pytest.mark.parametrize("cipher", CIPHERS, ids=lambda cipher: cipher.name)


def with_polyval(cipher: Cipher) -> Cipher:
    """The same lines with the hashes of the published vectors."""
    if cipher is PYTHON:
        return Cipher(
            cipher.name,
            partial(uiv_python.UIVEncryptor, hashes=POLYVAL),
            partial(uiv_python.UIVDecryptor, hashes=POLYVAL),
        )
    from onionshh.crypto import _uiv

    return Cipher(
        cipher.name,
        partial(_uiv.UIVEncryptor, hashes=POLYVAL),
        partial(_uiv.UIVDecryptor, hashes=POLYVAL),
    )


def in_threads(work: Callable[[int], None], count: int) -> None:
    """Let as many threads work at once, each with its number, taking turns as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
