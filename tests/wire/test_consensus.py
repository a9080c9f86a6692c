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
from onionshh.wire.consensus import Consensus, RelayRow, SharedRandom
from onionshh.wire.packing import pack


def row(number: int, **changes: Any) -> RelayRow:
    values: dict[str, Any] = {
        "identity": RelayId(number.to_bytes(32, "big")),
        "onion_key": bytes([number % 256]) * 32,
        "nickname": f"relay{number}",
        "host": f"10.{number // 256 % 256}.{number % 256}.1",
        "port": 9001,
        "weight": 1000 + number,
        "flags": wire.GUARD | wire.RING,
        "first_seen": 1_700_000_000,
    }
    return RelayRow(**(values | changes))


GOOD = Consensus(
    network="test net",
    valid_after=1_700_000_000,
    fresh_until=1_700_003_600,
    valid_until=1_700_086_400,
    params=Params().to_pairs(),
    shared_random=(SharedRandom(7, b"r" * 32, 5), SharedRandom(8, b"s" * 32, 6)),
    relays=tuple(row(i) for i in range(5)),
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
        "relays": consensus.relays,
        "count": len(consensus.relays),
        "root": consensus.root,
    }
    return pack(tuple((parts | changes).values()))


def test_round_trip() -> None:
    assert body_of(GOOD) == GOOD.encode_body()
    assert wire.decode_body_untrusted(GOOD.encode_body()) == GOOD


def test_an_empty_network_is_a_network() -> None:
    empty = replace(GOOD, relays=(), shared_random=())
    assert wire.decode_body_untrusted(empty.encode_body()) == empty


def test_version_comes_first() -> None:
    assert GOOD.encode_body()[1] == wire.CONSENSUS_VERSION


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
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
        changes = changes | {"root": merkle.root(map(pack, changes["relays"]))}
    with pytest.raises(ProtocolError):
        wire.decode_body_untrusted(body_of(GOOD, **changes))


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
        host="h" * 45,
        port=65535,
        weight=2**40,
        flags=2**16 - 1,
        first_seen=2**62,
        family=tuple(RelayId(bytes([i]) * 32) for i in range(8)),
        versions=tuple(range(65528, 65536)),
    )
    head = len(
        replace(
            GOOD,
            network="n" * 64,
            valid_until=2**62,
            params=tuple((f"{i:064}", 2**62) for i in range(256)),
            shared_random=tuple(SharedRandom(2**62 + i, bytes(32), 2**62) for i in range(8)),
        ).encode_body()
    )
    envelope = len(wire.join(b"", tuple((bytes([i]) * 32, bytes(64)) for i in range(32)))) + 16
    assert wire.CONSENSUS_RELAYS_MOST * len(pack(largest)) + head + envelope <= g.CONSENSUS_MAX


def test_a_row_too_many_is_refused() -> None:
    rows = tuple(row(i) for i in range(wire.CONSENSUS_RELAYS_MOST + 1))
    with pytest.raises(ProtocolError):
        wire.decode_body_untrusted(body_of(GOOD, relays=rows))


def test_eight_thousand_rows_are_read_and_indexed_quickly() -> None:
    body = replace(GOOD, relays=tuple(row(i) for i in range(8000))).encode_body()
    best = min(_seconds_to_read(body) for _ in range(3))
    assert best <= 0.2


def _seconds_to_read(body: bytes) -> float:
    start = time.process_time()
    consensus = wire.decode_body_untrusted(body)
    View(consensus, consensus)
    return time.process_time() - start


def test_what_programs_are_told_of_a_relay() -> None:
    told = row(3, flags=wire.GUARD | wire.FAST, host="2001:db8::1").as_dict()
    assert told == {
        "nickname": "relay3",
        "id": "00" * 31 + "03",
        "address": "[2001:db8::1]:9001",
        "flags": ["GUARD", "FAST"],
        "weight": 1003,
        "first_seen": 1_700_000_000,
    }
