"""Documents and files of earlier versions, byte for byte as those versions wrote them."""

from __future__ import annotations

from pathlib import Path

from onionshh.core.base.params import Params
from onionshh.crypto.identity import SigningKey
from onionshh.crypto.primitives import sha3_256
from onionshh.directory.signing import sign_consensus
from onionshh.wire.packing import pack
from tests.directory.world import AUTHORITY_KEY, NETWORK, WALL, descriptor, relay_key

RANDOM = tuple((WALL // 86_400 + at, bytes((at + 9,)) * 32, WALL + at) for at in (-1, 0, -3, -2))
"""The rows of a state: two that are published, and two of days that a clock has left."""


def body(number: int, host: str, *, published: int = WALL) -> bytes:
    """What relay `number` said of itself."""
    identity, onion_key = relay_key(number).public, bytes((number,)) * 32
    family = (bytes((255,)) * 32,)
    numbers = (2_000_000, 1, (1,), published)
    return pack((1, identity, onion_key, f"relay{number}", host, 9001, family, *numbers))


def state(hosts: tuple[str, ...] = ("8.0.1.1", "2001:db8::2")) -> bytes:
    """A directory's state: relay 1 is listed for nine days, relay 2 has another descriptor by now, relay 3
    never answered."""
    first, second = hosts
    relays = (
        (body(1, first), body(1, first), WALL, WALL - 9 * 86_400, WALL - 3, 0, ""),
        (
            body(2, second, published=WALL + 1),
            body(2, second),
            WALL + 1,
            WALL - 86_400,
            WALL - 3,
            1,
            "refused",
        ),
        (body(3, "8.0.3.1"), b"", WALL, 0, 0, 3, "no route"),
    )
    return pack((1, WALL, RANDOM, relays))


def state_2() -> bytes:
    """A directory's state of version 2: relay 1 is listed for nine days, relay 2 never answered."""
    one, two = descriptor(1).encode_body(), descriptor(2).encode_body()
    relays = (
        (one, one, WALL, WALL - 9 * 86_400, WALL - 3, 0, ""),
        (two, b"", WALL, 0, 0, 3, "no route"),
    )
    return pack((2, WALL, RANDOM, relays))


def consensus(*, valid_after: int = WALL, key: SigningKey = AUTHORITY_KEY) -> bytes:
    """A signed list of relay 1 and no other."""
    row = (relay_key(1).public, bytes(32), "relay1", "8.0.1.1", 9001, 1, 7, WALL - 9 * 86_400, (), (1,))
    dates = (valid_after, valid_after + 3600, valid_after + 86_400)
    random = tuple(sorted(RANDOM))[-2:]
    root = sha3_256(b"\x00", pack(row))
    return sign_consensus(
        pack((1, NETWORK.name, *dates, Params().to_pairs(), random, (row,), 1, root)), [key]
    )


def folder(path: Path) -> None:
    """The data folder of a directory that made its last consensus at WALL."""
    (path / "authority").write_bytes(pack((1, AUTHORITY_KEY.seed, NETWORK.name)))
    (path / "state").write_bytes(state())
    (path / "consensus").write_bytes(consensus())
