"""A state of version 3 is brought up: all that it says is kept, and what is damaged is refused."""

from __future__ import annotations

from random import Random

import pytest

from onionshh.directory import state_3
from onionshh.directory.store import STATE_VERSION
from onionshh.errors import ProtocolError
from onionshh.wire.packing import pack, version_untrusted
from tests.directory import old
from tests.directory.world import WALL, descriptor


def test_all_that_it_says_is_kept_and_the_rest_is_not_made_up() -> None:
    one, two = descriptor(1).encode_body(), descriptor(2).encode_body()
    since = WALL - 9 * 86_400
    assert state_3.brought_up_untrusted(old.state_3()) == pack(
        (
            STATE_VERSION,
            WALL,
            old.RANDOM,
            (
                (one, one, WALL, since, WALL - 3, 0, "", WALL - 3, WALL - 7200, since, ()),
                (two, b"", WALL, 0, 0, 3, "no route", WALL - 3, 0, 0, ()),
            ),
            ((WALL - 300, 1, 2_000_000, 1, 0, 0),),
        )
    )


def test_a_state_before_the_first_relay() -> None:
    assert state_3.brought_up_untrusted(pack((3, 0, (), (), ()))) == pack((4, 0, (), (), ()))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        old.state_3() + b"\x00",
        pack((2, 0, (), (), ())),
        pack((4, 0, (), (), ())),
        pack((3, 0, (), ())),
        pack((3, 0, (), ((b"", b"", 0, 0, 0, 0, "", 0, 0),), ())),
        pack((3, 0, (), (), ((0, 0, 0, 0, 0, 0),) * 290)),
    ],
)
def test_what_is_no_state_of_version_3(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        state_3.brought_up_untrusted(data)


def test_truncations_and_flips_raise_one_error_or_bring_up_something() -> None:
    random = Random(3)
    good = old.state_3()
    for cut in range(len(good)):
        with pytest.raises(ProtocolError):
            state_3.brought_up_untrusted(good[:cut])
    for _ in range(1000):
        flipped = bytearray(good)
        flipped[random.randrange(len(good))] ^= 1 << random.randrange(8)
        try:
            data = state_3.brought_up_untrusted(bytes(flipped))
        except ProtocolError:
            continue
        assert version_untrusted(data) == STATE_VERSION
