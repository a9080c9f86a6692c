"""Relays and an authority for the tests of the directory: seeded keys, a probe that a test commands."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import trio

from onionshh.config import Authority as AuthorityAddress
from onionshh.config import NetworkFile
from onionshh.core.base.params import Params, default_params
from onionshh.core.certificate import RelaySigner, certify
from onionshh.core.trust import sign_descriptor
from onionshh.crypto.identity import SigningKey
from onionshh.directory.store import AuthorityStore
from onionshh.ids import RelayId
from onionshh.net.probe import Probed
from onionshh.net.store import DataDirectory
from onionshh.wire.descriptor import Address, RelayDescriptor
from tests.core.networks import addressed

WALL = 1_700_000_000 // 86400 * 86400 + 3600
"""When the tests begin: an hour into a day, so at the start of a period's first half."""


def relay_key(number: int) -> SigningKey:
    return SigningKey(number.to_bytes(32, "big"))


def descriptor(number: int, **changes: Any) -> RelayDescriptor:
    """Relay `number`: its key, its nickname and, unless changed, a public address of its own. `host` and
    `port` change that address."""
    plain = RelayDescriptor(
        identity=RelayId(relay_key(number).public),
        onion_key=bytes([number % 256]) * 32,
        nickname=f"relay{number}",
        addresses=(Address.of(f"8.{number // 256}.{number % 256}.1", 9001),),
        bandwidth=2_000_000,
        published=WALL,
    )
    return replace(plain, **addressed({"addresses": plain.addresses}, changes))


def signed(number: int, **changes: Any) -> bytes:
    return sign_descriptor(descriptor(number, **changes), relay_key(number))


def signer(number: int, expires: int) -> RelaySigner:
    """A signing key of relay `number` until then."""
    key = SigningKey((number << 64 | expires).to_bytes(32, "big"))
    master = relay_key(number)
    return RelaySigner(RelayId(master.public), key, certify(master, key.public, expires))


@dataclass
class Prober:
    """Answers for every address, except those in `dead` (address -> reason) and those in `silent`."""

    dead: dict[str, str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    asked: Counter[str] = field(default_factory=Counter)
    at_once: int = 0
    most_at_once: int = 0

    slower_seconds: float = 0.0
    reaches_onions: bool = False
    params: Params | None = None

    async def __call__(self, relay: RelayDescriptor, params: Params, /) -> Probed:
        self.params = params
        self.asked.update(map(str, relay.addresses))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if not self.silent.isdisjoint(map(str, relay.addresses)):
                await trio.sleep_forever()
            if not self.broken.isdisjoint(map(str, relay.addresses)):
                raise RuntimeError("a fault in the probe itself")
            await trio.sleep(0.01)
            missed = {one: self.dead[str(one)] for one in relay.addresses if str(one) in self.dead}
            return Probed(missed, next(iter(missed.values()), ""))
        finally:
            self.at_once -= 1


AUTHORITY_KEY = SigningKey(b"authority".ljust(32))
NETWORK = NetworkFile("test", 1, (AuthorityAddress("http://127.0.0.1:7000", AUTHORITY_KEY.public),))


def store_in(path: Path) -> AuthorityStore:
    return AuthorityStore(DataDirectory(path), AUTHORITY_KEY, NETWORK)


def one_machine(**overrides: int) -> Params:
    return default_params(one_machine=True).with_overrides(overrides)
