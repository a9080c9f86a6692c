"""The ciphers that are there: the one in Python, and the compiled one where it was built."""

from __future__ import annotations

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
