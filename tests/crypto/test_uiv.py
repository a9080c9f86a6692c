"""UIV+, the cipher of one onion layer: published vectors, our known answers, and what it is for (SPEC 3)."""

from __future__ import annotations

import json
import sys
import threading

import pytest

from onionshh.crypto.uiv import UIVDecryptor, UIVEncryptor
from onionshh.geometry import LAYER_KEYS, LAYER_STATE, PAYLOAD, TAG
from tests.crypto.polyval import POLYVAL
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


def test_cgo_tweakable_block() -> None:
    """ET alone: the cipher's left half for a right half that is the tweak's end."""
    rows = published("cgo.json")["et"]
    for encrypt, key, tweak, block, expected in rows:
        keys = key + bytes(32)
        if encrypt:
            assert UIVEncryptor(keys, POLYVAL).encrypt(tweak[:17], block, tweak[17:])[0] == expected
        else:
            # Decryption first undoes the keystream, which for these bytes is that of a zero key.
            keystream = _keystream(bytes(32), block, 0)
            masked = bytes(a ^ b for a, b in zip(tweak[17:], keystream, strict=True))
            assert UIVDecryptor(keys, POLYVAL).decrypt(tweak[:17], block, masked)[0] == expected


def _keystream(key: bytes, start: bytes, which: int) -> bytes:
    """PRF(start, which) as it falls out of the class: by deciphering zeros, or as an update."""
    if which:
        return UIVEncryptor(bytes(32) + key, POLYVAL).next_state(start)
    return UIVDecryptor(bytes(32) + key, POLYVAL).decrypt(bytes(17), start, bytes(PAYLOAD))[1]


def test_cgo_prf() -> None:
    for key, which, start, expected in published("cgo.json")["prf"]:
        assert _keystream(key, start, which) == expected


def test_cgo_wide_block() -> None:
    for encrypt, keys, tweak, left, right, expected in published("cgo.json")["uiv"]:
        if encrypt:
            result = UIVEncryptor(keys, POLYVAL).encrypt(tweak, left, right)
        else:
            result = UIVDecryptor(keys, POLYVAL).decrypt(tweak, left, right)
        assert result == tuple(expected)


def test_cgo_update() -> None:
    for keys, nonce, expected in published("cgo.json")["uiv_update"]:
        assert UIVEncryptor(keys, POLYVAL).next_state(nonce) == b"".join(expected)
        assert UIVDecryptor(keys, POLYVAL).next_state(nonce) == b"".join(expected)


def test_our_own_known_answers() -> None:
    """The first cell that a relay made, and what its layer had from then on, as `layers.json` keeps them."""
    kept = json.loads((FOLDER / "layers.json").read_text(encoding="utf-8"))
    _, _, command, payload, _, (body, *_) = next(cell for cell in kept["cells"] if cell[:2] == ["in", 0])
    state, right = bytes.fromhex(kept["states"][0][1]), bytes.fromhex(payload)
    keys, nonce = state[:LAYER_KEYS], state[LAYER_KEYS:]
    tweak = bytes(TAG) + bytes((command,))
    wire = bytes.fromhex(body)
    assert b"".join(UIVEncryptor(keys).encrypt(tweak, nonce, right)) == wire
    assert UIVDecryptor(keys).decrypt(tweak, wire[:TAG], wire[TAG:]) == (nonce, right)


def test_enciphering_is_the_inverse_of_deciphering() -> None:
    random = seeded(3)
    for _ in range(20):
        keys, tweak, cell = random(64), random(17), (random(TAG), random(PAYLOAD))
        assert UIVDecryptor(keys).decrypt(tweak, *UIVEncryptor(keys).encrypt(tweak, *cell)) == cell


@pytest.mark.parametrize("at", range(0, 64, 16))
def test_every_part_of_the_key_counts(at: int) -> None:
    random = seeded(4)
    keys, tweak, cell = random(64), random(17), (random(TAG), random(PAYLOAD))
    assert UIVEncryptor(flipped(keys, at)).encrypt(tweak, *cell) != UIVEncryptor(keys).encrypt(tweak, *cell)


def test_ciphers_made_in_many_threads_keep_to_their_own_keys() -> None:
    """They share what they are made with, within a thread alone."""
    tweak, cell = bytes(17), (bytes(TAG), bytes(PAYLOAD))
    keys = [seeded(number)(LAYER_KEYS) for number in range(4)]
    expected = [UIVEncryptor(key).encrypt(tweak, *cell) for key in keys]
    wrong: list[int] = []

    def make(number: int) -> None:
        for _ in range(300):
            if UIVEncryptor(keys[number]).encrypt(tweak, *cell) != expected[number]:
                wrong.append(number)
            if UIVDecryptor(keys[number]).decrypt(tweak, *expected[number]) != cell:
                wrong.append(number)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=make, args=(number,)) for number in range(len(keys))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong


@pytest.mark.parametrize("place", PLACES)
def test_any_changed_bit_enciphers_to_noise(place: int) -> None:
    random = seeded(5)
    cipher, tweak, cell = UIVEncryptor(random(LAYER_KEYS)), random(17), random(TAG + PAYLOAD)
    changed = flipped(cell, place)
    one, other = (b"".join(cipher.encrypt(tweak, each[:TAG], each[TAG:])) for each in (cell, changed))
    assert alike(one[:TAG], other[:TAG]) <= 2
    assert alike(one, other) <= 12


@pytest.mark.parametrize("place", range(17))
def test_every_byte_of_the_tweak_counts(place: int) -> None:
    random = seeded(6)
    cipher, tweak, cell = UIVEncryptor(random(LAYER_KEYS)), random(17), (random(TAG), random(PAYLOAD))
    one, other = (b"".join(cipher.encrypt(each, *cell)) for each in (tweak, flipped(tweak, place)))
    assert alike(one, other) <= 12


def test_the_next_keys_are_no_keystream_of_a_cell() -> None:
    """Both come out of one key and one start; a cell of zeros must not show the keys that follow."""
    keys = seeded(7)(LAYER_KEYS)
    left, keystream = UIVEncryptor(keys).encrypt(bytes(17), bytes(TAG), bytes(PAYLOAD))
    state = UIVEncryptor(keys).next_state(left)
    assert len(state) == LAYER_STATE
    assert state == UIVDecryptor(keys).next_state(left)
    assert not any(state[at : at + TAG] in keystream for at in range(0, LAYER_STATE, TAG))


@pytest.mark.parametrize("size", [0, LAYER_KEYS - 1, LAYER_KEYS + 1, LAYER_STATE])
def test_keys_of_another_size_are_a_fault_of_ours(size: int) -> None:
    for cipher in (UIVEncryptor, UIVDecryptor):
        with pytest.raises(ValueError, match="64 bytes"):
            cipher(bytes(size))
