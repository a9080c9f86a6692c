"""A state of version 1 is brought up: all that it says is kept, and what is damaged is refused."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from onionshh.directory import state_1, state_2
from onionshh.errors import ProtocolError
from onionshh.wire.descriptor import IPV4, IPV6
from onionshh.wire.packing import pack, version_untrusted
from tests.directory import old
from tests.directory.world import WALL, relay_key, store_in


def test_all_that_it_says_is_kept(tmp_path: Path) -> None:
    data = state_1.brought_up_untrusted(old.state())
    assert version_untrusted(data) == state_2.VERSION
    store = store_in(tmp_path)
    store.save_state(data)
    state = store.load_state()
    assert (state.valid_after, state.shared_random) == (WALL, old.RANDOM)
    standing = [(e.heard, e.first_seen, e.last_good, e.failures, e.why) for e in state.entries]
    assert standing == [
        (WALL, WALL - 9 * 86_400, WALL - 3, 0, ""),
        (WALL + 1, WALL - 86_400, WALL - 3, 1, "refused"),
        (WALL, 0, 0, 3, "no route"),
    ]
    newest = [entry.newest for entry in state.entries]
    assert [word.addresses for word in newest] == [
        ((IPV4, "8.0.1.1", 9001),),
        ((IPV6, "2001:db8::2", 9001),),
        ((IPV4, "8.0.3.1", 9001),),
    ]
    for number, word in enumerate(newest, start=1):
        assert word.identity == relay_key(number).public
        assert (word.nickname, word.onion_key) == (f"relay{number}", bytes((number,)) * 32)
        assert (word.family, word.bandwidth, word.capabilities) == ((b"\xff" * 32,), 2_000_000, 1)
        assert (word.software, word.signing, tuple(word.paced)) == ("", b"", (0, 0))
    assert [word.published for word in newest] == [WALL, WALL + 1, WALL]
    checked = [entry.checked and entry.checked.published for entry in state.entries]
    assert checked == [WALL, WALL, None]


def test_a_state_before_the_first_relay() -> None:
    assert state_1.brought_up_untrusted(pack((1, 0, (), ()))) == pack((2, 0, (), ()))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        old.state() + b"\x00",
        pack((2, 0, (), ())),
        pack((1, 0, (), ((b"junk", b"", 0, 0, 0, 0, ""),))),
        pack((1, 0, (), ((old.body(1, "8.0.1.1") + b"\x00", b"", 0, 0, 0, 0, ""),))),
        pack((1, 0, (), ((b"\x9b\x02" + old.body(1, "8.0.1.1")[2:], b"", 0, 0, 0, 0, ""),))),
        pack((1, 0, ((1, bytes(32), 1),) * 9, ())),
    ],
)
def test_what_is_no_state_of_version_1(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        state_1.brought_up_untrusted(data)


def test_truncations_and_flips_raise_one_error_or_bring_up_something() -> None:
    random = Random(3)
    good = old.state()
    for cut in range(len(good)):
        with pytest.raises(ProtocolError):
            state_1.brought_up_untrusted(good[:cut])
    for _ in range(1000):
        flipped = bytearray(good)
        flipped[random.randrange(len(good))] ^= 1 << random.randrange(8)
        try:
            data = state_1.brought_up_untrusted(bytes(flipped))
        except ProtocolError:
            continue
        assert version_untrusted(data) == 2
