"""UIV+, the cipher of one onion layer: published vectors, our known answers, and what it is for (SPEC 3)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from contextlib import suppress

import pytest

from onionshh.crypto.uiv import PURE, PYTHON, Cipher, compiled
from onionshh.geometry import LAYER_KEYS, LAYER_STATE, PAYLOAD, TAG
from tests.crypto.ciphers import each, with_polyval
from tests.crypto.published import published
from tests.seeded import seeded
from tests.vectors.make import FOLDER

PLACES = (0, TAG - 1, TAG, 300, TAG + PAYLOAD - 1)
"""The ends of the left part and of the right one, and one in the middle."""


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]


def alike(one: bytes, other: bytes) -> int:
    """Bytes that are the same at the same place: about one in 256 for noise."""
    return sum(a == b for a, b in zip(one, other, strict=True))


@each
def test_cgo_tweakable_block(cipher: Cipher) -> None:
    """ET alone: the cipher's left half for a right half that is the tweak's end."""
    rows = published("cgo.json")["et"]
    for encrypt, key, tweak, block, expected in rows:
        keys = key + bytes(32)
        if encrypt:
            assert with_polyval(cipher).encryptor(keys).encrypt(tweak[:17], block, tweak[17:])[0] == expected
        else:
            # Decryption first undoes the keystream, which for these bytes is that of a zero key.
            keystream = _keystream(cipher, bytes(32), block, 0)
            masked = bytes(a ^ b for a, b in zip(tweak[17:], keystream, strict=True))
            assert with_polyval(cipher).decryptor(keys).decrypt(tweak[:17], block, masked)[0] == expected


def _keystream(cipher: Cipher, key: bytes, start: bytes, which: int) -> bytes:
    """PRF(start, which) as it falls out of the class: by deciphering zeros, or as an update."""
    if which:
        return with_polyval(cipher).encryptor(bytes(32) + key).next_state(start)
    return with_polyval(cipher).decryptor(bytes(32) + key).decrypt(bytes(17), start, bytes(PAYLOAD))[1]


@each
def test_cgo_prf(cipher: Cipher) -> None:
    for key, which, start, expected in published("cgo.json")["prf"]:
        assert _keystream(cipher, key, start, which) == expected


@each
def test_cgo_wide_block(cipher: Cipher) -> None:
    for encrypt, keys, tweak, left, right, expected in published("cgo.json")["uiv"]:
        if encrypt:
            result = with_polyval(cipher).encryptor(keys).encrypt(tweak, left, right)
        else:
            result = with_polyval(cipher).decryptor(keys).decrypt(tweak, left, right)
        assert result == tuple(expected)


@each
def test_cgo_update(cipher: Cipher) -> None:
    for keys, nonce, expected in published("cgo.json")["uiv_update"]:
        assert with_polyval(cipher).encryptor(keys).next_state(nonce) == b"".join(expected)
        assert with_polyval(cipher).decryptor(keys).next_state(nonce) == b"".join(expected)


@each
def test_our_own_known_answers(cipher: Cipher) -> None:
    """The first cell that a relay made, and what its layer had from then on, as `layers.json` keeps them."""
    kept = json.loads((FOLDER / "layers.json").read_text(encoding="utf-8"))
    _, _, command, payload, _, (body, *_) = next(cell for cell in kept["cells"] if cell[:2] == ["in", 0])
    state, right = bytes.fromhex(kept["states"][0][1]), bytes.fromhex(payload)
    keys, nonce = state[:LAYER_KEYS], state[LAYER_KEYS:]
    tweak = bytes(TAG) + bytes((command,))
    wire = bytes.fromhex(body)
    assert b"".join(cipher.encryptor(keys).encrypt(tweak, nonce, right)) == wire
    assert cipher.decryptor(keys).decrypt(tweak, wire[:TAG], wire[TAG:]) == (nonce, right)


@each
def test_enciphering_is_the_inverse_of_deciphering(cipher: Cipher) -> None:
    random = seeded(3)
    for _ in range(20):
        keys, tweak, cell = random(64), random(17), (random(TAG), random(PAYLOAD))
        assert cipher.decryptor(keys).decrypt(tweak, *cipher.encryptor(keys).encrypt(tweak, *cell)) == cell


@pytest.mark.parametrize("at", range(0, 64, 16))
@each
def test_every_part_of_the_key_counts(at: int, cipher: Cipher) -> None:
    random = seeded(4)
    keys, tweak, cell = random(64), random(17), (random(TAG), random(PAYLOAD))
    assert cipher.encryptor(flipped(keys, at)).encrypt(tweak, *cell) != cipher.encryptor(keys).encrypt(
        tweak, *cell
    )


@pytest.mark.parametrize("place", PLACES)
@each
def test_any_changed_bit_enciphers_to_noise(place: int, cipher: Cipher) -> None:
    random = seeded(5)
    encryptor, tweak, cell = cipher.encryptor(random(LAYER_KEYS)), random(17), random(TAG + PAYLOAD)
    changed = flipped(cell, place)
    one, other = (b"".join(encryptor.encrypt(tweak, each[:TAG], each[TAG:])) for each in (cell, changed))
    assert alike(one[:TAG], other[:TAG]) <= 2
    assert alike(one, other) <= 12


@pytest.mark.parametrize("place", range(17))
@each
def test_every_byte_of_the_tweak_counts(place: int, cipher: Cipher) -> None:
    random = seeded(6)
    encryptor, tweak, cell = cipher.encryptor(random(LAYER_KEYS)), random(17), (random(TAG), random(PAYLOAD))
    one, other = (b"".join(encryptor.encrypt(each, *cell)) for each in (tweak, flipped(tweak, place)))
    assert alike(one, other) <= 12


@each
def test_the_next_keys_are_no_keystream_of_a_cell(cipher: Cipher) -> None:
    """Both come out of one key and one start; a cell of zeros must not show the keys that follow."""
    keys = seeded(7)(LAYER_KEYS)
    left, keystream = cipher.encryptor(keys).encrypt(bytes(17), bytes(TAG), bytes(PAYLOAD))
    state = cipher.encryptor(keys).next_state(left)
    assert len(state) == LAYER_STATE
    assert state == cipher.decryptor(keys).next_state(left)
    assert not any(state[at : at + TAG] in keystream for at in range(0, LAYER_STATE, TAG))


@each
@pytest.mark.parametrize("size", [0, LAYER_KEYS - 1, LAYER_KEYS + 1, LAYER_STATE])
def test_keys_of_another_size_are_a_fault_of_ours(size: int, cipher: Cipher) -> None:
    for made in (cipher.encryptor, cipher.decryptor):
        with pytest.raises(ValueError, match="64 bytes"):
            made(bytes(size))


def can_be_built() -> bool:
    """Whether there is a C compiler that finds the headers."""
    with suppress(OSError):
        source = b"#include <Python.h>\n#include <openssl/evp.h>\n"
        arguments = [os.environ.get("CC", "cc"), f"-I{sysconfig.get_path('include')}", "-E", "-"]
        return subprocess.run(arguments, input=source, capture_output=True, check=False).returncode == 0
    return False


def test_where_it_can_be_built_it_is_there() -> None:
    """Else these tests would pass without it."""
    assert compiled() is not None or not can_be_built(), "run make clean, and make this anew"


def chosen(**environment: str) -> str:
    """The cipher of another process."""
    lines = "from onionshh.crypto.uiv import CIPHER; print(CIPHER.name)"
    return subprocess.run(
        [sys.executable, "-c", lines],
        env={name: value for name, value in os.environ.items() if name != PURE} | environment,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.strip()


def test_the_environment_chooses() -> None:
    usual = PYTHON.name if compiled() is None else "compiled"
    assert chosen() == chosen(ONIONSHH_PURE="") == chosen(ONIONSHH_PURE="0") == usual
    assert chosen(ONIONSHH_PURE="1") == PYTHON.name


def test_where_it_was_not_built_python_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onionshh.crypto._uiv", None)  # an import of it fails
    monkeypatch.delattr("onionshh.crypto._uiv", raising=False)
    assert compiled() is None
