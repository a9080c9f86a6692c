"""The consensus body: one encoding, sorted, counted, rooted; in bounds at its largest; quick to read."""

from __future__ import annotations

import time
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from onionshh import geometry as g
from onionshh.core.base.params import Params
from onionshh.core.paths.view import View
from onionshh.errors import ProtocolError
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.wire import consensus as wire
from onionshh.wire import merkle
from onionshh.wire.consensus import Consensus, RelayRow, SharedRandom, Vote
from onionshh.wire.descriptor import IPV4, IPV6, MOST_PACED, ONION, Address, Paced
from onionshh.wire.packing import pack
from tests.core.networks import addressed

ONION_HOST = "a2" * 28 + ".onion"


def row(number: int, **changes: Any) -> RelayRow:
    values: dict[str, Any] = {
        "identity": RelayId(number.to_bytes(32, "big")),
        "onion_key": bytes([number % 256]) * 32,
        "nickname": f"relay{number}",
        "addresses": (Address.of(f"10.{number // 256 % 256}.{number % 256}.1", 9001),),
        "weight": 1000 + number,
        "flags": wire.GUARD | wire.RING,
        "first_seen": 1_700_000_000,
    }
    return RelayRow(**addressed(values, changes))


GOOD = Consensus(
    network="test net",
    valid_after=1_700_000_000,
    fresh_until=1_700_003_600,
    valid_until=1_700_086_400,
    params=Params().to_pairs(),
    shared_random=(SharedRandom(7, b"r" * 32, 5), SharedRandom(8, b"s" * 32, 6)),
    relays=(
        row(0),
        row(1, software="onionshh 0.1.0"),
        row(
            2,
            addresses=(Address(IPV4, "10.0.2.1", 1), Address(IPV6, "::1", 2), Address(ONION, ONION_HOST, 3)),
        ),
        row(3, host="2001:db8::1"),
        row(4),
    ),
    crowd=Paced(700, 3),
    previous=b"p" * 32,
    votes=(Vote(b"a" * 32, b"1" * 32), Vote(b"b" * 32, b"2" * 32)),
)


def body_of(consensus: Consensus, **changes: Any) -> bytes:
    """A body in which any part is as the test wants it, count and root included."""
    parts: dict[str, Any] = {
        "version": wire.CONSENSUS_VERSION,
        "network": consensus.network,
        "valid_after": consensus.valid_after,
        "fresh_until": consensus.fresh_until,
        "valid_until": consensus.valid_until,
        "params": consensus.params,
        "shared_random": consensus.shared_random,
        "crowd": consensus.crowd,
        "previous": consensus.previous,
        "votes": consensus.votes,
        "relays": consensus.relays,
        "count": len(consensus.relays),
        "root": consensus.root,
    }
    return pack(tuple((parts | changes).values()))


def test_round_trip() -> None:
    assert body_of(GOOD) == GOOD.encode_body()
    decoded = wire.decode_body_untrusted(GOOD.encode_body())
    assert decoded == GOOD
    assert isinstance(decoded.crowd, Paced)
    assert isinstance(decoded.votes[0], Vote)
    assert isinstance(decoded.relays[2].addresses[2], Address)


def test_an_empty_network_is_a_network() -> None:
    empty = replace(GOOD, relays=(), shared_random=(), crowd=Paced(), previous=b"", votes=())
    assert wire.decode_body_untrusted(empty.encode_body()) == empty


def test_version_comes_first() -> None:
    assert GOOD.encode_body()[1] == wire.CONSENSUS_VERSION


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 3},
        {"count": 4},
        {"root": bytes(32)},
        {"root": bytes(31)},
        {"relays": tuple(reversed(GOOD.relays))},
        {"relays": (GOOD.relays[0], GOOD.relays[0]), "count": 2},
        {"relays": (row(1)[:-1],), "count": 1},
        {"relays": (row(1, identity=b"short"),), "count": 1},
        {"relays": (row(1, weight=-1),), "count": 1},
        {"relays": (row(1, nickname="n" * 20),), "count": 1},
        {"relays": (row(1, family=(b"short",)),), "count": 1},
        {"params": (("b", 1), ("a", 1))},
        {"params": (("a", 1), ("a", 2))},
        {"params": (("a", -1),)},
        {"params": (("a", 1.0),)},
        {"params": {"a": 1}},
        {"shared_random": ((8, b"s" * 32, 6), (7, b"r" * 32, 5))},
        {"shared_random": ((8, b"s" * 31, 6),)},
        {"shared_random": tuple((period, b"s" * 32, 6) for period in range(17))},
        {"relays": (row(1, addresses=()),), "count": 1},
        {"relays": (row(1, addresses=((4, "10.0.0.1", 1),)),), "count": 1},
        {"relays": (row(1, addresses=((0, "10.0.0.1", 1),)),), "count": 1},
        {"relays": (row(1, addresses=((1, "10.0.0.1", 1),) * 2),), "count": 1},
        {"relays": (row(1, addresses=((2, "::1", 1), (1, "10.0.0.1", 1))),), "count": 1},
        {"relays": (row(1, addresses=tuple((1, "10.0.0.1", port) for port in range(1, 6))),), "count": 1},
        {"relays": (row(1, software="s" * 33),), "count": 1},
        {"relays": (row(1, software="ü"),), "count": 1},
        {"crowd": (1,)},
        {"crowd": (-1, 0)},
        {"crowd": (0, wire.CONSENSUS_RELAYS_MOST * MOST_PACED + 1)},
        {"previous": bytes(31)},
        {"previous": bytes(33)},
        {"previous": "p" * 32},
        {"votes": ((b"b" * 32, b"2" * 32), (b"a" * 32, b"1" * 32))},
        {"votes": ((b"a" * 32, b"1" * 32), (b"a" * 32, b"2" * 32))},
        {"votes": ((b"a" * 32, b"1" * 31),)},
        {"votes": ((b"a" * 32,),)},
        {"votes": tuple((bytes((i,)) * 32, b"1" * 32) for i in range(10))},
        {"fresh_until": GOOD.valid_after},
        {"valid_until": GOOD.fresh_until - 1},
        {"valid_after": None},
        {"network": b"test net"},
        {"network": "n" * 65},
    ],
    ids=str,
)
def test_wrong_bodies(changes: dict[str, Any]) -> None:
    if "relays" in changes and "root" not in changes:
        leaves = (merkle.Leaf(pack(row), max(row[4], 0)) for row in changes["relays"])
        changes = changes | {"root": merkle.root(leaves)}
    with pytest.raises(ProtocolError):
        wire.decode_body_untrusted(body_of(GOOD, **changes))


def test_the_version_before_is_refused_by_name() -> None:
    old_row = (bytes(32), bytes(32), "relay", "10.0.0.1", 9001, 1, 0, 5, (), (1,))
    old = pack((1, "net", 5, 6, 7, (), (), (old_row,), 1, bytes(32)))
    body = GOOD.encode_body()
    for other in (old, bytes((body[0], 1)) + body[2:], bytes((body[0], 0xCC, 200)) + body[2:]):
        with pytest.raises(ProtocolError) as caught:
            wire.decode_body_untrusted(other)
        assert caught.value.reason == Reason.CONSENSUS_VERSION


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"addresses": ((0, "10.0.0.1", 1),)}, Reason.CONSENSUS_ADDRESS),
        ({"addresses": ((1, "10.0.0.1", 1),) * 2}, Reason.CONSENSUS_ADDRESS),
        ({"addresses": ((4, "10.0.0.1", 1),)}, Reason.DOCUMENT_SHAPE),
        ({"software": "ü"}, Reason.DOCUMENT_SHAPE),
    ],
    ids=str,
)
def test_why_a_row_is_refused(changes: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(ProtocolError) as caught:
        wire.decode_body_untrusted(replace(GOOD, relays=(row(1, **changes),)).encode_body())
    assert caught.value.reason == reason


def test_the_root_covers_weights_as_its_proofs_show_them() -> None:
    leaves = [merkle.Leaf(pack(row), row.weight) for row in GOOD.relays]
    place = merkle.check_untrusted(leaves[3], 3, 5, merkle.proof(leaves, 3), GOOD.root)
    weights = [row.weight for row in GOOD.relays]
    assert place == (sum(weights[:3]), sum(weights))


def test_the_root_covers_every_row() -> None:
    """Each row changed alone, the root left as it was."""
    for i in range(len(GOOD.relays)):
        rows = list(GOOD.relays)
        rows[i] = rows[i]._replace(weight=1)
        with pytest.raises(ProtocolError) as caught:
            wire.decode_body_untrusted(body_of(GOOD, relays=tuple(rows)))
        assert caught.value.reason == Reason.CONSENSUS_ROOT


def test_truncations_flips_and_junk_raise_one_error() -> None:
    random = Random(2)
    body = replace(GOOD, params=()).encode_body()
    for cut in range(len(body)):
        with pytest.raises(ProtocolError):
            wire.decode_body_untrusted(body[:cut])
    with pytest.raises(ProtocolError):
        wire.decode_body_untrusted(body + b"\x00")
    for _ in range(1000):
        flipped = bytearray(body)
        flipped[random.randrange(len(body))] ^= 1 << random.randrange(8)
        for junk in (bytes(flipped), random.randbytes(random.randrange(300))):
            try:
                decoded = wire.decode_body_untrusted(junk)
            except ProtocolError:
                continue
            assert decoded.encode_body() == junk


def test_envelope() -> None:
    pairs = ((b"a" * 32, b"1" * 64), (b"b" * 32, b"2" * 64))
    assert wire.split_untrusted(wire.join(b"body", pairs)) == (b"body", pairs)
    bad = (
        wire.join(b"body", ()),
        wire.join(b"body", (pairs[0], (b"a" * 32, b"3" * 64))),
        wire.join(b"body", tuple((bytes([i]) * 32, b"1" * 64) for i in range(33))),
        wire.join(b"body", ((b"a" * 31, b"1" * 64),)),
        wire.join(b"body", pairs) + b"\x00",
        wire.join(b"body", pairs)[:-1],
        pack((b"body",)),
        pack(("body", pairs)),
        b"\xc4" * (g.CONSENSUS_MAX + 1),
    )
    for document in bad:
        with pytest.raises(ProtocolError):
            wire.split_untrusted(document)


def test_a_full_consensus_of_the_largest_rows_fits() -> None:
    largest = row(
        1,
        nickname="n" * 19,
        addresses=tuple(Address(ONION, "h" * 62, 65535 - i) for i in range(4)),
        weight=2**40,
        flags=2**16 - 1,
        first_seen=2**62,
        family=tuple(RelayId(bytes([i]) * 32) for i in range(8)),
        versions=tuple(range(65528, 65536)),
        software="s" * 32,
    )
    head = len(
        replace(
            GOOD,
            network="n" * 64,
            valid_until=2**62,
            params=tuple((f"{i:064}", 2**62) for i in range(256)),
            shared_random=tuple(SharedRandom(2**62 + i, bytes(32), 2**62) for i in range(16)),
            crowd=Paced(*(wire.CONSENSUS_RELAYS_MOST * MOST_PACED,) * 2),
            votes=tuple(Vote(bytes([i]) * 32, bytes(32)) for i in range(9)),
        ).encode_body()
    )
    envelope = len(wire.join(b"", tuple((bytes([i]) * 32, bytes(64)) for i in range(32)))) + 16
    assert wire.CONSENSUS_RELAYS_MOST * len(pack(largest)) + head + envelope <= g.CONSENSUS_MAX


def test_a_row_too_many_is_refused() -> None:
    rows = tuple(row(i) for i in range(wire.CONSENSUS_RELAYS_MOST + 1))
    with pytest.raises(ProtocolError):
        wire.decode_body_untrusted(body_of(GOOD, relays=rows))


def test_as_many_rows_as_there_may_be_are_read_and_indexed_quickly() -> None:
    body = replace(GOOD, relays=tuple(row(i) for i in range(wire.CONSENSUS_RELAYS_MOST))).encode_body()
    best = min(_seconds_to_read(body) for _ in range(5))
    assert best <= 0.3


def _seconds_to_read(body: bytes) -> float:
    start = time.process_time()
    consensus = wire.decode_body_untrusted(body)
    View(consensus, consensus)
    return time.process_time() - start


def test_what_programs_are_told_of_a_relay() -> None:
    addresses = (Address(IPV6, "2001:db8::1", 9001), Address(ONION, ONION_HOST, 443))
    told = row(3, flags=wire.GUARD | wire.FAST, addresses=addresses, software="onionshh 0.1.0").as_dict()
    assert told == {
        "nickname": "relay3",
        "id": "00" * 31 + "03",
        "address": "[2001:db8::1]:9001",
        "addresses": ["[2001:db8::1]:9001", f"{ONION_HOST}:443"],
        "flags": ["GUARD", "FAST"],
        "weight": 1003,
        "first_seen": 1_700_000_000,
        "software": "onionshh 0.1.0",
    }
