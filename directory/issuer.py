"""Makes the consensuses of an authority, one after the other, and remembers the last one (SPEC 8).

The valid-after date rises from one to the next, so that nobody takes an older one. The exception is a
consensus that turns out to be from the future: nobody with a right clock took it, so we do not go on from it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from onionshh.core.base.params import Params
from onionshh.core.base.words import amount, utc
from onionshh.core.trust import EARLY_SECONDS
from onionshh.crypto.primitives import sha3_256
from onionshh.directory.consensus import build, kept_random, next_random
from onionshh.directory.history import added
from onionshh.directory.registry import Registry
from onionshh.directory.signing import sign_consensus
from onionshh.directory.store import AuthorityStore, KeptState
from onionshh.ids import RandomBytes
from onionshh.net.conditions import Condition
from onionshh.net.store import RunBlocking
from onionshh.wire.consensus import Consensus

log = logging.getLogger("onionshh.directory")


@dataclass(frozen=True, slots=True)
class _Shown:
    """What everyone may see: the last consensus as it was signed, the same decoded, and its relays."""

    document: bytes = b""
    consensus: Consensus | None = None
    listed: frozenset[bytes] = frozenset()


class Issuer:
    """The issuer of one authority. It loads what the store holds, and restores the registry from it."""

    def __init__(
        self,
        store: AuthorityStore,
        registry: Registry,
        *,
        params: Params,
        random_bytes: RandomBytes,
        run_blocking: RunBlocking,
    ) -> None:
        self._store = store
        self._registry = registry
        self._params = params
        self._random_bytes = random_bytes
        self._run_blocking = run_blocking
        self._disk = Condition(log.error)
        state, last = store.load_state(), store.load_consensus()
        registry.restore(state.entries)
        self._shared_random = state.shared_random
        self._valid_after = max(state.valid_after, last.valid_after if last is not None else 0)
        self._previous = sha3_256(last.encode_body()) if last is not None else b""
        """The hash of the last consensus's body."""
        self._due = last.fresh_until if last is not None else 0
        """When the next consensus should come, 0 if that is not known."""
        self._shown = _Shown()
        self.history = state.history
        """The last day."""

    @property
    def document(self) -> bytes:
        """The last consensus as it was signed, b"" before the first."""
        return self._shown.document

    @property
    def consensus(self) -> Consensus | None:
        """The same, decoded; None before the first."""
        return self._shown.consensus

    @property
    def listed(self) -> frozenset[bytes]:
        """The relays of that consensus."""
        return self._shown.listed

    async def issue(self, wall: int) -> bool:
        """Build, write, sign and show a consensus of now. False when the disk refuses: then nothing that
        depends on it is shown, and the last consensus stands."""
        self._step_back(wall)
        valid_after = max(wall, self._valid_after + 1)
        shared_random = next_random(
            self._shared_random,
            params=self._params,
            valid_after=valid_after,
            random_bytes=self._random_bytes,
        )
        kept = kept_random(self._shared_random, shared_random)
        listed = self._registry.listed()
        consensus = build(
            listed,
            network=self._store.network.name,
            params=self._params,
            shared_random=shared_random,
            valid_after=valid_after,
            previous=self._previous,
        )
        body = consensus.encode_body()
        document = sign_consensus(body, [self._store.key])
        rows = frozenset(row.identity for row in consensus.relays)
        history = added(
            self.history,
            at=valid_after,
            due=self._due,
            interval=self._params.interval_seconds,
            relays=len(rows),
            bandwidth=sum(r.descriptor.bandwidth for r in listed if r.descriptor.identity in rows),
        )
        state = KeptState(valid_after, kept, self._registry.entries(), history).encode()

        def write() -> None:
            self._store.save_state(state)
            self._store.save_consensus(document)

        try:
            await self._run_blocking(write)
        except OSError as error:
            self._disk.holds(f"no new consensus, the disk refuses: {error.strerror}")
            return False
        self._disk.over("the disk takes consensuses again")
        before = len(self.listed)
        self._valid_after = valid_after
        self._shared_random = kept
        self._previous = sha3_256(body)
        self._due = consensus.fresh_until
        self.history = history
        self._shown = _Shown(document, consensus, rows)
        if len(rows) != before:
            log.info("consensus of %d relays (before: %d)", len(rows), before)
        return True

    def _step_back(self, wall: int) -> None:
        """If the last consensus is from the future, go on from the clock: nobody with a right clock took it.
        If it is less than 600 s ahead, somebody may have, so the valid-after date rises (SPEC 8)."""
        since = self._registry.first_of_the_future(wall)
        if self._valid_after > wall + EARLY_SECONDS:
            ahead = f"{amount(self._valid_after - wall)} ahead of this directory's clock"
            began = f"since {utc(since)} or before" if since else "not for long"
            log.warning(
                "the last consensus was dated %s, %s, which shows %s: the clock ran ahead then (%s), or it is"
                " behind now. Consensuses go on from the clock, and nodes whose own clock is right take them",
                utc(self._valid_after),
                ahead,
                utc(wall),
                began,
            )
            self._valid_after = wall - 1
        if since and self._registry.sure:
            self._registry.bring_back(wall)
            log.warning("dates ahead of this directory's clock, from %s on, were brought back", utc(since))
