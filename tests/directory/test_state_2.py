"""A state of version 2 is brought up: all that it says is kept, and what is damaged is refused."""

from __future__ import annotations

from random import Random

import pytest

from onionshh.directory import state_2
from onionshh.directory.store import STATE_VERSION
from onionshh.errors import ProtocolError
from onionshh.wire.packing import pack, version_untrusted
from tests.directory import old
from tests.directory.world import WALL, descriptor


def test_all_that_it_says_is_kept_and_the_rest_is_not_made_up() -> None:
    """Whoever failed the last check was checked at a time that nobody wrote down."""
    one, two = descriptor(1).encode_body(), descriptor(2).encode_body()
    since = WALL - 9 * 86_400
    assert state_2.brought_up_untrusted(old.state_2()) == pack(
        (
            STATE_VERSION,
            WALL,
            old.RANDOM,
            (
                (one, one, WALL, since, WALL - 3, 0, "", WALL - 3, 0, since, ()),
                (two, b"", WALL, 0, 0, 3, "no route", 0, 0, 0, ()),
            ),
            (),
        )
    )


def test_a_state_before_the_first_relay() -> None:
    assert state_2.brought_up_untrusted(pack((2, 0, (), ()))) == pack((3, 0, (), (), ()))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        old.state_2() + b"\x00",
        pack((1, 0, (), ())),
        pack((3, 0, (), ())),
        pack((2, 0, (), ((b"", b"", 0, 0, 0, 0),))),
        pack((2, 0, ((1, bytes(32), 1),) * 25, ())),
    ],
)
def test_what_is_no_state_of_version_2(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        state_2.brought_up_untrusted(data)


def test_truncations_and_flips_raise_one_error_or_bring_up_something() -> None:
    random = Random(3)
    good = old.state_2()
    for cut in range(len(good)):
        with pytest.raises(ProtocolError):
            state_2.brought_up_untrusted(good[:cut])
    for _ in range(1000):
        flipped = bytearray(good)
        flipped[random.randrange(len(good))] ^= 1 << random.randrange(8)
        try:
            data = state_2.brought_up_untrusted(bytes(flipped))
        except ProtocolError:
            continue
        assert version_untrusted(data) == STATE_VERSION
