"""Bech32m: the strings that BIP 350 lists, valid and invalid."""

from __future__ import annotations

import pytest

from onionshh.crypto import bech32m
from onionshh.errors import BadAddress

VALID = [
    "A1LQFN3A",
    "a1lqfn3a",
    "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
    "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
    "11" + "l" * 82 + "ludsr8",
    "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
    "?1v759aa",
]
INVALID = [
    " 1xj0phk",
    "\x7f1g6xzxy",
    "\x801vctc34",
    "an84characterslonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11d6pts4",
    "qyrz8wqd2c9m",
    "1qyrz8wqd2c9m",
    "y1b0jsk6g",
    "lt1igcx5c0",
    "in1muywd",
    "mm1crxm3i",
    "au1s5cgom",
    "M1VUXWEZ",
    "16plkw9",
    "1p2gdwpf",
]


@pytest.mark.parametrize("text", VALID)
def test_valid(text: str) -> None:
    prefix, groups = bech32m.split(text)
    assert bech32m.join(prefix, groups) == text.lower()


@pytest.mark.parametrize("text", INVALID)
def test_invalid(text: str) -> None:
    with pytest.raises(BadAddress):
        bech32m.split(text)


def test_what_the_groups_are() -> None:
    assert bech32m.split(VALID[3]) == ("abcdef", list(range(31, -1, -1)))


@pytest.mark.parametrize("size", range(12))
def test_bytes_round_trip(size: int) -> None:
    data = bytes(range(200, 200 + size))
    assert bech32m.decode_untrusted("shh", bech32m.encode("shh", data)) == data


def test_padding_bits_are_zero_and_fewer_than_a_group() -> None:
    for groups in ([31, 31], [0, 1], [0, 0, 0], [0]):
        with pytest.raises(BadAddress, match="extra bits"):
            bech32m.decode_untrusted("shh", bech32m.join("shh", groups))


def test_plain_bech32_is_another_checksum() -> None:
    """A string of BIP 173."""
    with pytest.raises(BadAddress, match="checksum"):
        bech32m.split("split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w")
