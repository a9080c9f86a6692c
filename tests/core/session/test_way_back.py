"""WAY_BACK: at most two relays, each with a key of its own (SPEC 12)."""

from __future__ import annotations

import pytest

from onionshh import geometry as g
from onionshh.core.session.way_back import (
    RECEIVED_BODY,
    SIZE,
    WayBack,
    decode_ways_untrusted,
    encode_ways,
)
from onionshh.errors import ProtocolError
from onionshh.ids import AuthKey, RelayId
from onionshh.reasons import Reason
from tests.core.session.sides import WALL


def way(number: int) -> WayBack:
    return WayBack(RelayId(bytes((number,)) * 32), AuthKey(bytes((number + 100,)) * 32), WALL + number)


def refused(body: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_ways_untrusted(body)
    assert caught.value.reason is Reason.WAY_BACK_SHAPE


@pytest.mark.parametrize("count", [0, 1, 2])
def test_what_is_encoded_is_read(count: int) -> None:
    ways = tuple(way(number) for number in range(1, count + 1))
    body = encode_ways(ways)
    assert len(body) == SIZE == g.WAY_BACK_BODY
    assert decode_ways_untrusted(body) == ways


def test_the_bytes_are_those_of_the_format() -> None:
    one = way(1)
    assert encode_ways([one]) == b"\1" + one.relay + one.auth_key + one.expires.to_bytes(4, "big") + bytes(68)


def test_no_ways_is_not_the_word_that_ours_are_kept() -> None:
    assert decode_ways_untrusted(bytes(SIZE)) == ()
    assert decode_ways_untrusted(RECEIVED_BODY) is None
    assert len(RECEIVED_BODY) == SIZE
    refused(RECEIVED_BODY[:-1] + b"\1")


def test_any_other_shape_is_refused() -> None:
    two = encode_ways([way(1), way(2)])
    for body in (b"", two[:-1], two + b"\0", b"\3" + two[1:], b"\xfe" + two[1:]):
        refused(body)
    refused(b"\1" + two[1:])
    refused(b"\0" + two[1:])
    refused(bytes(SIZE - 1) + b"\1")


def test_two_ways_have_two_keys() -> None:
    """The same relay may stand twice. A key names one session's way alone."""
    one, two = way(1), way(2)
    same_relay = WayBack(one.relay, two.auth_key, two.expires)
    assert decode_ways_untrusted(encode_ways([one, same_relay])) == (one, same_relay)
    row = one.relay + one.auth_key + bytes(4)
    refused(b"\2" + row + row)
    with pytest.raises(ValueError, match="key of its own"):
        encode_ways([one, WayBack(two.relay, one.auth_key, 0)])
    with pytest.raises(ValueError, match="at most 2"):
        encode_ways([way(1), way(2), way(3)])


def test_no_key_shows_in_a_repr() -> None:
    assert repr(way(1).auth_key)[2:-1] not in repr(way(1))
