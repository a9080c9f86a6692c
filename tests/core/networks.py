"""Consensuses made by hand, for tests of what is chosen from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_type_hints

from onionshh.core.base.params import Params
from onionshh.core.paths.view import View
from onionshh.crypto.primitives import sha3_256
from onionshh.ids import RelayId
from onionshh.wire.consensus import FAST, GUARD, RING, Consensus, RelayRow, SharedRandom
from onionshh.wire.descriptor import Address

DAY = 86_400
START = 20_000 * DAY


def relay_id(number: int) -> RelayId:
    """The identity of relay `number`."""
    return RelayId(sha3_256(b"relay", number.to_bytes(4, "big")))


def row(number: int, **changes: object) -> RelayRow:
    """A relay with all flags, in a /16 of its own, long known."""
    plain = RelayRow(
        identity=relay_id(number),
        onion_key=bytes(32),
        nickname=f"relay{number}",
        addresses=(Address.of(f"10.{number % 256}.0.{1 + number // 256}", 9000 + number),),
        weight=100,
        flags=GUARD | RING | FAST,
        first_seen=START - 30 * DAY,
    )
    return changed(plain, **changes)


def changed(row: RelayRow, **changes: object) -> RelayRow:
    """The same row but for these fields. `host` and `port` are those of its one address."""
    fields = dict(zip(get_type_hints(RelayRow), row, strict=True))
    return RelayRow(**addressed(fields, changes))


def addressed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a row or descriptor with these changes. `host` and `port` change its one address."""
    plain = dict(changes)
    if "host" in plain or "port" in plain:
        before = values["addresses"][0]
        host, port = plain.pop("host", before.host), plain.pop("port", before.port)
        plain["addresses"] = (Address.of(host, port),)
    return {**values, **plain}


def families(rows: Sequence[RelayRow], *groups: Sequence[int]) -> list[RelayRow]:
    """The rows, those at the indexes of each group declaring one another."""
    result = list(rows)
    for group in groups:
        for at in group:
            others = tuple(sorted(rows[other].identity for other in group if other != at))
            result[at] = changed(result[at], family=others)
    return result


def consensus(
    rows: Sequence[RelayRow], *, at: int = START + DAY // 2, params: Params | None = None
) -> Consensus:
    """A consensus of these rows, valid after `at`, with the random values of three periods."""
    params = params or Params()
    period = params.period_of(at)
    length = params.period_seconds
    return Consensus(
        network="test",
        valid_after=at,
        fresh_until=at + params.interval_seconds,
        valid_until=at + params.valid_seconds,
        params=params.to_pairs(),
        shared_random=tuple(
            SharedRandom(p, sha3_256(b"srv", p.to_bytes(8, "big")), p * length - length // 2)
            for p in (period - 1, period, period + 1)
        ),
        relays=tuple(sorted(rows)),
    )


def view(rows: Sequence[RelayRow], *, at: int = START + DAY // 2, params: Params | None = None) -> View:
    """A view of one consensus of these rows."""
    return View(consensus(rows, at=at, params=params))


def plain(count: int, change: Callable[[RelayRow], RelayRow] = lambda r: r) -> list[RelayRow]:
    """So many unrelated relays."""
    return [change(row(number)) for number in range(count)]


def without_subnets() -> Params:
    """The default parameters but for the subnet rule."""
    return replace(Params(), subnet_rule=0)
