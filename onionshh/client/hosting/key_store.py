"""What an endpoint must not lose: period keys, replay logs, introducers (SPEC 10, 11).

All of it is in the endpoint's one SQLite file, synced before anything is answered. So after a crash a
replayed introduction is recognised, and visitors who hold a descriptor still reach us under its keys.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Final

from onionshh.core.endpoint.introducers import HeldIntroducer
from onionshh.core.endpoint.replay import ReplayLog
from onionshh.crypto.identity import SigningKey
from onionshh.crypto.primitives import KeyPair
from onionshh.crypto.seal import SealKey
from onionshh.ids import RandomBytes, RelayId
from onionshh.net.database import Database
from onionshh.net.signals import Broadcast

KEY_MIGRATIONS: Final = (
    """
CREATE TABLE IF NOT EXISTS period_keys (
    period INTEGER PRIMARY KEY, rendezvous BLOB NOT NULL, seal BLOB NOT NULL, signing BLOB NOT NULL,
    revision INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS replay (period INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (period, hash))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS introducers (
    auth_seed BLOB PRIMARY KEY, relay BLOB NOT NULL, expiry INTEGER NOT NULL) WITHOUT ROWID;
""",
)


@dataclass(slots=True)
class PeriodKeys:
    """The keys behind one period's descriptor, and the replay log that belongs to them."""

    period: int
    rendezvous: KeyPair = field(repr=False)
    seal: SealKey = field(repr=False)
    signing: SigningKey = field(repr=False)
    revision: int
    replay: ReplayLog


class KeyStore:
    """`load` it once before use. `worn_out` is sent when a replay log has no room left: a descriptor with new
    keys is due."""

    def __init__(self, database: Database, random_bytes: RandomBytes, replay_entries: int) -> None:
        self._database = database
        self._random_bytes = random_bytes
        self._replay_entries = replay_entries
        self._periods: dict[int, PeriodKeys] = {}
        self.worn_out = Broadcast()

    async def load(self) -> None:
        """Take up what is on disk."""

        def read(connection: sqlite3.Connection) -> None:
            rows = connection.execute("SELECT period, rendezvous, seal, signing, revision FROM period_keys")
            for period, rendezvous, seal, signing, revision in rows.fetchall():
                seen = connection.execute("SELECT hash FROM replay WHERE period = ?", (period,))
                self._periods[period] = PeriodKeys(
                    period,
                    KeyPair.from_private(rendezvous),
                    SealKey.from_bytes(seal),
                    SigningKey(signing),
                    revision,
                    ReplayLog(self._replay_entries, (row[0] for row in seen)),
                )

        await self._database.transaction(read)

    async def period_keys(self, period: int) -> PeriodKeys:
        """The keys of a period, made and kept if there are none, or if their replay log is full."""
        held = self._periods.get(period)
        if held is not None and not held.replay.full:
            return held
        keys = PeriodKeys(
            period,
            KeyPair.generate(self._random_bytes),
            SealKey.generate(self._random_bytes),
            SigningKey.generate(self._random_bytes),
            held.revision if held is not None else 0,
            ReplayLog(self._replay_entries),
        )
        row = (period, keys.rendezvous.private, keys.seal.to_bytes(), keys.signing.seed, keys.revision)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM replay WHERE period = ?", (period,))
            connection.execute("INSERT OR REPLACE INTO period_keys VALUES (?, ?, ?, ?, ?)", row)

        await self._database.transaction(write, erases=held is not None)
        self._periods[period] = keys
        return keys

    def keys_of(self, period: int) -> PeriodKeys | None:
        """The keys of a period, if there are any."""
        return self._periods.get(period)

    def named(self, period_byte: int) -> PeriodKeys | None:
        """The keys that an introduction names by the low byte of their period."""
        return next((keys for period, keys in self._periods.items() if period & 0xFF == period_byte), None)

    async def set_revision(self, keys: PeriodKeys, revision: int) -> None:
        """A descriptor of this revision is about to be published."""
        keys.revision = revision
        await self._database.transaction(
            lambda connection: connection.execute(
                "UPDATE period_keys SET revision = ? WHERE period = ?", (revision, keys.period)
            )
        )

    async def remember(self, keys: PeriodKeys, *hashes: bytes) -> None:
        """Sync what `keys.replay` has just taken in."""
        rows = [(keys.period, replay_hash) for replay_hash in hashes]
        await self._database.transaction(
            lambda connection: connection.executemany("INSERT OR IGNORE INTO replay VALUES (?, ?)", rows)
        )
        if keys.replay.full:
            self.worn_out.send()

    async def forget_before(self, period: int) -> None:
        """Erase the keys of all earlier periods: what was sealed to them stays sealed."""
        old = [past for past in self._periods if past < period]
        if not old:
            return

        def erase(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM period_keys WHERE period < ?", (period,))
            connection.execute("DELETE FROM replay WHERE period < ?", (period,))

        await self._database.transaction(erase, erases=True)
        for past in old:
            del self._periods[past]

    async def introducers(self, wall: int) -> list[HeldIntroducer]:
        """The introducers from before a restart whose time is not over. The others are erased soon. A full
        disk can be read too."""

        def read(connection: sqlite3.Connection) -> list[HeldIntroducer]:
            rows = connection.execute(
                "SELECT relay, auth_seed, expiry FROM introducers WHERE expiry > ? ORDER BY expiry", (wall,)
            )
            return [HeldIntroducer(RelayId(relay), SigningKey(seed), expiry) for relay, seed, expiry in rows]

        held = await self._database.read(read)
        self._database.soon(
            lambda connection: connection.execute("DELETE FROM introducers WHERE expiry <= ?", (wall,))
        )
        return held

    async def keep_introducer(self, held: HeldIntroducer) -> None:
        """Remember an introducer across a restart."""
        row = (held.key.seed, held.relay, held.expiry)
        await self._database.transaction(
            lambda connection: connection.execute("INSERT OR REPLACE INTO introducers VALUES (?, ?, ?)", row)
        )

    async def drop_introducer(self, held: HeldIntroducer) -> None:
        """It is not ours any more."""
        await self._database.transaction(
            lambda connection: connection.execute(
                "DELETE FROM introducers WHERE auth_seed = ?", (held.key.seed,)
            ),
            erases=True,
        )
