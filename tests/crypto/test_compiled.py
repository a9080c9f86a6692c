"""The compiled cipher: the same bytes as Python's, and no call of a program does harm to it (SPEC 3).

`make sanitize` runs these under the sanitizers of the compiler, too.
"""

from __future__ import annotations

import copy
import gc
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from onionshh.crypto.uiv_python import Hashes
from onionshh.geometry import LAYER_KEYS, PAYLOAD, TAG
from tests.crypto.ciphers import COMPILED, in_threads
from tests.crypto.comparing import compare

if COMPILED is None:
    pytest.skip("the compiled cipher was not built", allow_module_level=True)

from onionshh.crypto import _uiv
from tests.crypto import failing
from tests.crypto.hostile_calls import GOOD, KEYS, SEED, TYPES, Odd, cell

each_type = pytest.mark.parametrize("made", TYPES)


def test_random_cells_are_the_same_in_both() -> None:
    assert COMPILED is not None
    compare(COMPILED, 10_000, seed=1)


@each_type
@pytest.mark.parametrize("place, size", [(0, TAG + 1), (1, TAG), (2, PAYLOAD)])
def test_parts_of_another_size_or_type_are_refused(made: Any, place: int, size: int) -> None:
    layer = made(KEYS)
    for other in (b"", bytes(size - 1), bytes(size + 1), bytes(1 << 16)):
        with pytest.raises(ValueError, match=f"must have {size} bytes, not {len(other)}"):
            cell(layer)(*GOOD[:place], other, *GOOD[place + 1 :])
    for odd in (None, "x" * size, bytearray(size), memoryview(bytes(size)), [0] * size, size):
        with pytest.raises(TypeError, match="must be bytes"):
            cell(layer)(*GOOD[:place], odd, *GOOD[place + 1 :])
    assert cell(layer)(*GOOD) == cell(made(KEYS))(*GOOD), "a refused call changes nothing"


@each_type
def test_other_numbers_of_arguments_are_refused(made: Any) -> None:
    layer = made(KEYS)
    for count in (0, 1, 2, 4):
        with pytest.raises(TypeError, match="3 arguments"):
            cell(layer)(*(GOOD * 2)[:count])
    with pytest.raises(TypeError):
        cell(layer)(*GOOD, tweak=GOOD[0])
    for wrong in ((), (SEED, SEED)):
        with pytest.raises(TypeError):
            layer.next_state(*wrong)
    with pytest.raises(ValueError, match="16 bytes, not 17"):
        layer.next_state(bytes(17))
    with pytest.raises(TypeError, match="must be bytes"):
        layer.next_state(bytearray(TAG))


@each_type
def test_no_object_is_half_made(made: Any) -> None:
    for wrong in ((), (KEYS, None, None)):
        with pytest.raises(TypeError):
            made(*wrong)
    for odd in (None, bytearray(KEYS), "x" * LAYER_KEYS):
        with pytest.raises(TypeError, match="must be bytes"):
            made(odd)
    with pytest.raises(TypeError):
        object.__new__(made)
    with pytest.raises(TypeError):
        made.__new__(made)
    layer = made(KEYS)
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            copied(layer)
    assert cell(layer)(*GOOD) == cell(made(KEYS))(*GOOD)


@each_type
def test_nothing_of_it_can_be_changed(made: Any) -> None:
    with pytest.raises(TypeError):
        type("Derived", (made,), {})
    with pytest.raises(TypeError):
        made.encrypt = None
    with pytest.raises(AttributeError):
        made(KEYS).keys = KEYS


def test_each_direction_has_its_own_type_alone() -> None:
    assert not hasattr(_uiv.UIVEncryptor, "decrypt")
    assert not hasattr(_uiv.UIVDecryptor, "encrypt")
    with pytest.raises(TypeError):
        _uiv.UIVEncryptor.encrypt(_uiv.UIVDecryptor(KEYS), *GOOD)  # type: ignore[arg-type]


@each_type
def test_no_key_in_a_repr(made: Any) -> None:
    shown = repr(made(KEYS))
    assert KEYS.hex() not in shown
    assert repr(KEYS)[2:-1] not in shown


def fails() -> bytes:
    raise LookupError("no hash")


@each_type
def test_other_hashes_may_fail(made: Any) -> None:
    for answer in (b"", bytes(15), None, "x" * 16):
        hashes = Hashes(Odd(answer), Odd(answer))
        with pytest.raises(ValueError, match="a hash gives 16 bytes"):
            cell(made(KEYS, hashes))(*GOOD)
        with pytest.raises(ValueError, match="a hash gives 16 bytes"):
            made(KEYS, hashes).next_state(SEED)
    with pytest.raises(LookupError):
        cell(made(KEYS, Hashes(Odd(fails), Odd(fails))))(*GOOD)
    with pytest.raises(AttributeError):
        made(KEYS, object())


def test_one_object_in_four_threads() -> None:
    """The interpreter's lock is kept during a call."""
    layer, wrong = _uiv.UIVEncryptor(KEYS), list[int]()
    cells = [(bytes((n,)) * (TAG + 1), bytes((n,)) * TAG, bytes((n,)) * PAYLOAD) for n in range(4)]
    expected = [layer.encrypt(*one) for one in cells]

    def work(number: int) -> None:
        for _ in range(2000):
            if layer.encrypt(*cells[number]) != expected[number]:
                wrong.append(number)

    in_threads(work, 4)
    assert not wrong


def test_many_calls_leave_nothing_behind() -> None:
    """Neither of the interpreter's memory nor of OpenSSL's. `make sanitize` has a million calls."""
    arguments = [sys.executable, "-m", "tests.crypto.hostile_calls", "60000"]
    # In a process of its own: here, what other tests left would count, too.
    said = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, "60000 calls left nothing behind\n", "")


class Meddling:
    """A hash that looks for what the call holds, and takes it away or keeps it."""

    def __init__(self) -> None:
        self.kept: list[object] = []

    def universal(self, key: bytes) -> Meddling:
        for one in gc.get_objects():
            if type(one) is dict and set(one) == {"keys", "hashes"}:
                one.clear()
        return self

    counter_start = universal

    def encrypt(self, *_: object) -> bytes:
        self.kept += (
            one for one in gc.get_objects() if type(one) is tuple and list(map(_size, one)) == [TAG, PAYLOAD]
        )
        return bytes(TAG)

    def update(self, *_: object) -> bytes:
        return bytes(TAG)


def _size(value: object) -> int:
    return len(value) if type(value) is bytes else -1


@each_type
def test_hashes_reach_nothing_that_is_half_made(made: Any) -> None:
    """Neither the arguments of the call that makes a layer, nor a cell before it is whole."""
    hashes = Meddling()

    def named() -> dict[str, Any]:
        return {"keys": bytes(bytearray(KEYS)), "hashes": hashes}

    layer = made(**named())
    first = cell(layer)(*GOOD)
    assert hashes.kept == []
    assert cell(layer)(*GOOD) == first


def test_a_failure_of_openssl_is_an_exception_and_leaves_nothing_behind(tmp_path: Path) -> None:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("there is no C compiler")
    library = tmp_path / "failing.so"
    failing.build(compiler, library)
    said = subprocess.run(
        [sys.executable, "-m", "tests.crypto.failing", str(library)],
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said.returncode, said.stderr) == (0, "")
    assert re.fullmatch(r"\d+ failures of OpenSSL in \S+, each an exception\n", said.stdout)
    assert int(said.stdout.split()[0]) > 40
