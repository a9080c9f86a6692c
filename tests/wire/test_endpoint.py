"""The two layouts of an endpoint descriptor: one encoding of each, one size for all (SPEC 10)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as some

from onionshh import geometry as g
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason
from onionshh.wire.endpoint import (
    COVERED,
    EFFORT_MAX,
    INTRODUCERS_MAX,
    NUMBER_MAX,
    EndpointDescriptor,
    Inner,
    IntroducerEntry,
    Outer,
    ProofWanted,
)
from tests.seeded import seeded

random = seeded(1)
ROW_AT = 2


def introducer(n: int) -> IntroducerEntry:
    return IntroducerEntry(bytes([n]) * 32, bytes([n + 100]) * 32, 1_700_000_000 + n)


DESCRIPTOR = EndpointDescriptor(
    revision=7,
    expiry=1_700_000_000,
    rendezvous_key=random(g.POINT),
    seal_key=random(g.HPKE_KEY),
    introducers=tuple(introducer(n) for n in range(6)),
    P=random(g.POINT),
    pq_public=random(g.PQ_KEY),
    proof=ProofWanted(random(g.SEED), 64, 1_700_000_300),
    sends_no_receipts=True,
    classes=4,
    letter_key=random(g.HPKE_KEY),
    letters_until=1_700_600_000,
)
NO_INBOX = replace(
    DESCRIPTOR, proof=None, sends_no_receipts=False, classes=0, letter_key=b"", letters_until=0
)
"""What endpoints of today say."""
MOST_PROOF = ProofWanted(random(g.SEED), EFFORT_MAX, NUMBER_MAX)
SIGNATURE = random(g.PQ_SIGNATURE)
PLAIN = Inner(DESCRIPTOR, DESCRIPTOR.encode(), SIGNATURE).encode()
ROW: list[Any] = msgpack.unpackb(DESCRIPTOR.encode()[ROW_AT:])
FLAGS, CLASSES, LETTER_KEY, LETTERS_UNTIL = 7, 8, 9, 10
"""Places in the row."""


def plain(row: bytes, *, length: int | None = None, fill: bytes = b"") -> bytes:
    """A plaintext around any row."""
    start = (len(row) if length is None else length).to_bytes(2) + row + SIGNATURE + fill
    return start.ljust(g.DESCRIPTOR_PLAIN, b"\0")


def changed(**places: Any) -> bytes:
    """The plaintext with other values at these places of its row (`at7=0`)."""
    row = list(ROW)
    for place, value in places.items():
        row[int(place.removeprefix("at"))] = value
    return plain(msgpack.packb(row))


def refused(data: bytes, reason: Reason | None = None) -> None:
    with pytest.raises(ProtocolError) as caught:
        Inner.decode_untrusted(data)
    assert reason is None or caught.value.reason == reason


@pytest.mark.parametrize(
    "descriptor, inbox, receipts, until",
    [
        (DESCRIPTOR, True, False, DESCRIPTOR.letters_until),
        (NO_INBOX, False, True, NO_INBOX.expiry),
        (replace(NO_INBOX, sends_no_receipts=True), False, False, NO_INBOX.expiry),
        (replace(DESCRIPTOR, sends_no_receipts=False, proof=None), True, True, DESCRIPTOR.letters_until),
        (replace(NO_INBOX, classes=COVERED), False, True, NO_INBOX.expiry),
        (replace(NO_INBOX, proof=MOST_PROOF), False, True, NO_INBOX.expiry),
    ],
)
def test_what_an_endpoint_says_of_itself_is_read(
    descriptor: EndpointDescriptor, inbox: bool, receipts: bool, until: int
) -> None:
    encoded = Inner(descriptor, descriptor.encode(), SIGNATURE).encode()
    read = Inner.decode_untrusted(encoded).descriptor
    assert read == descriptor
    assert (read.has_inbox, not read.sends_no_receipts, read.kept_until) == (inbox, receipts, until)


def test_the_places_of_the_row_are_those_of_the_specification() -> None:
    row = msgpack.unpackb(NO_INBOX.encode()[ROW_AT:])
    assert [row[0], row[6], row[FLAGS], row[CLASSES], row[LETTER_KEY], row[LETTERS_UNTIL]] == [
        2, [], 0, 0, b"", 0,
    ]  # fmt: skip
    assert ROW[6] == [[DESCRIPTOR.proof.seed, 64, 1_700_000_300]] if DESCRIPTOR.proof else False
    assert (ROW[FLAGS], ROW[CLASSES]) == (3, 4)
    assert (ROW[LETTER_KEY], ROW[LETTERS_UNTIL]) == (DESCRIPTOR.letter_key, DESCRIPTOR.letters_until)


def test_a_row_of_the_version_before_is_named_so() -> None:
    """Its length is another, so without a look at the version it would be of a wrong shape."""
    before = [1, *ROW[1:6], [], 0, *ROW[11:]]
    refused(plain(msgpack.packb(before)), Reason.DOCUMENT_VERSION)
    refused(changed(at0=3), Reason.DOCUMENT_VERSION)


@pytest.mark.parametrize(
    "changes",
    [
        {"at7": 0},  # a letter key, and no inbox
        {"at7": 2},
        {"at9": b""},  # an inbox without its key
        {"at10": 0},  # or without its date
        {"at7": 0, "at9": b""},  # a date alone
        {"at7": 0, "at10": 0},  # a key alone
        {"at9": bytes(1215)},
        {"at9": bytes(1)},
        {"at8": 1},  # flash and talk have no cover
        {"at8": 2},
        {"at8": 5},
    ],
)
def test_flag_key_and_date_of_an_inbox_go_together_and_classes_have_cover(changes: dict[str, Any]) -> None:
    refused(changed(**changes), Reason.DOCUMENT_SHAPE)


def test_round_trip() -> None:
    inner = Inner.decode_untrusted(PLAIN)
    assert inner.descriptor == DESCRIPTOR
    assert inner.encoded == DESCRIPTOR.encode()
    assert inner.signature == SIGNATURE
    assert inner.encode() == PLAIN
    assert len(PLAIN) == g.DESCRIPTOR_PLAIN


@pytest.mark.parametrize("count", [1, INTRODUCERS_MAX])
def test_the_least_and_the_most_introducers_have_one_size(count: int) -> None:
    descriptor = replace(
        DESCRIPTOR,
        revision=NUMBER_MAX,
        expiry=NUMBER_MAX,
        introducers=tuple(replace(introducer(n), expiry=NUMBER_MAX) for n in range(count)),
        proof=MOST_PROOF,
        classes=COVERED,
        letters_until=NUMBER_MAX,
    )
    encoded = Inner(descriptor, descriptor.encode(), SIGNATURE).encode()
    assert len(encoded) == g.DESCRIPTOR_PLAIN
    assert Inner.decode_untrusted(encoded).descriptor == descriptor


@pytest.mark.parametrize("count", [0, INTRODUCERS_MAX + 1])
def test_no_introducer_or_too_many(count: int) -> None:
    descriptor = replace(DESCRIPTOR, introducers=tuple(introducer(n) for n in range(count)))
    refused(Inner(descriptor, descriptor.encode(), SIGNATURE).encode())


@pytest.mark.parametrize(
    "place, value",
    [
        (0, 0),  # version
        (0, 1),
        (0, 3),
        (0, 200),
        (0, b"\2"),
        (1, -1),  # revision
        (1, 2**63),
        (1, 1.0),
        (2, None),  # expiry
        (3, bytes(31)),  # rendezvous key
        (3, "a" * 32),
        (4, bytes(1215)),  # seal key
        (5, []),  # introducers
        (5, [[bytes(32), bytes(32)]]),
        (5, [[bytes(32), bytes(32), 1, 1]]),
        (5, [[bytes(31), bytes(32), 1]]),
        (5, [[bytes(32), bytes(33), 1]]),
        (5, {}),
        (6, [1]),  # proof of work
        (6, None),
        (6, [[]]),
        (6, [bytes(32), 64, 1]),
        (6, [[bytes(32), 64]]),
        (6, [[bytes(32), 64, 1, 1]]),
        (6, [[bytes(31), 64, 1]]),
        (6, [[bytes(32), 2**32, 1]]),
        (6, [[bytes(32), -1, 1]]),
        (6, [[bytes(32), 64, 2**63]]),
        (6, [[bytes(32), 64, 1]] * 2),
        (7, 4),  # flags
        (7, -1),
        (7, True),
        (7, 2**63 - 1),
        (8, 13),  # classes
        (8, 16),
        (8, False),
        (9, bytes(1217)),  # letter key
        (9, None),
        (9, "a" * 1216),
        (10, 2**63),  # letters until
        (10, -1),
        (11, bytes(33)),  # P
        (12, bytes(1951)),  # ML-DSA key
        (12, b""),
    ],
)
def test_a_row_of_another_shape(place: int, value: object) -> None:
    refused(plain(msgpack.packb([*ROW[:place], value, *ROW[place + 1 :]])))


def test_a_row_with_a_field_less_or_more() -> None:
    assert Inner.decode_untrusted(plain(msgpack.packb(ROW))).descriptor == DESCRIPTOR
    refused(plain(msgpack.packb(ROW[:-1])))
    refused(plain(msgpack.packb([*ROW, 0])))
    refused(plain(msgpack.packb(dict(enumerate(ROW)))))
    refused(plain(b""))


def test_one_encoding_only() -> None:
    row = msgpack.packb(ROW)
    refused(plain(row + b"\0"))  # junk inside the length
    longer = row.replace(b"\x07", b"\xcc\x07", 1)  # revision 7 in two bytes
    assert msgpack.unpackb(longer) == ROW
    refused(plain(longer))


def test_the_fill_is_zeros() -> None:
    row = msgpack.packb(ROW)
    refused(plain(row, fill=b"\1"))
    refused(PLAIN[:-1] + b"\1")


@pytest.mark.parametrize("change", [-1, 1, 60_000])
def test_a_length_that_lies(change: int) -> None:
    row = msgpack.packb(ROW)
    refused(plain(row, length=len(row) + change))
    with pytest.raises(ProtocolError) as caught:
        Inner.decode_untrusted(plain(row, length=g.DESCRIPTOR_PLAIN - g.PQ_SIGNATURE - 1))
    assert caught.value.reason == Reason.DOCUMENT_SIZE


def test_a_row_that_is_cut_anywhere_is_refused() -> None:
    row = msgpack.packb(ROW)
    for end in (*range(80), *range(80, len(row), 97), len(row) - 1):
        refused(plain(row[:end]))


@pytest.mark.parametrize("data", [b"", PLAIN[:-1], PLAIN + b"\0"], ids=len)
def test_another_size(data: bytes) -> None:
    refused(data)


def test_what_does_not_fit_is_never_encoded() -> None:
    with pytest.raises(ValueError, match="signature"):
        Inner(DESCRIPTOR, DESCRIPTOR.encode(), SIGNATURE[:-1]).encode()
    with pytest.raises(ValueError, match="do not fit"):
        Inner(DESCRIPTOR, bytes(g.DESCRIPTOR_PLAIN - g.PQ_SIGNATURE + 1), SIGNATURE).encode()


@given(some.integers(0, g.DESCRIPTOR_PLAIN - 1), some.integers(1, 255))
def test_any_broken_byte_is_refused_or_another_value(place: int, change: int) -> None:
    broken = bytearray(PLAIN)
    broken[place] ^= change
    try:
        inner = Inner.decode_untrusted(bytes(broken))
    except ProtocolError:
        return
    assert inner.encode() == broken
    assert inner != Inner.decode_untrusted(PLAIN)


# Outside

OUTER = Outer(
    blinded=random(g.KEY),
    period=20_000,
    revision=7,
    salt=random(g.SALT),
    period_key=random(g.KEY),
    expiry=1_700_000_000,
    certificate=random(g.SIGNATURE),
    sealed=random(g.DESCRIPTOR_SEALED),
    signature=random(g.SIGNATURE),
)


def test_outer_round_trip() -> None:
    data = OUTER.encode()
    assert len(data) == g.DESCRIPTOR
    assert Outer.decode_untrusted(data) == OUTER
    assert OUTER.signed == b"onionshh ring v1" + data[: -g.SIGNATURE]


@pytest.mark.parametrize("size", [0, g.DESCRIPTOR - 1, g.DESCRIPTOR + 1])
def test_outer_of_another_size(size: int) -> None:
    with pytest.raises(ProtocolError):
        Outer.decode_untrusted(bytes(size))


@pytest.mark.parametrize("name", ["period", "revision", "expiry"])
def test_outer_numbers_fit_a_signed_integer(name: str) -> None:
    """What a ring relay keeps in a table must fit its columns."""

    def holding(value: Any) -> bytes:
        return replace(OUTER, **{name: value}).encode()

    assert Outer.decode_untrusted(holding(NUMBER_MAX))
    for value in (NUMBER_MAX + 1, 2**64 - 1):
        with pytest.raises(ProtocolError):
            Outer.decode_untrusted(holding(value))
