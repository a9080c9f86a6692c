"""An endpoint answers introductions: replay log, seal, and its own circuit to the visitor's point (SPEC 11).

The order is fixed: the sealed bytes against the log, the seal, the seed against the log, both on disk, and
only then a circuit. At most two tries an introduction, the second sending the very same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from onionshh.client.context import Context
from onionshh.client.exchange import Exchange
from onionshh.client.vault import Vault
from onionshh.core.introduce import EndToEndKeys, Opened, answer, open_introduction_untrusted
from onionshh.core.whisper import Record
from onionshh.crypto.identity import Identity
from onionshh.crypto.primitives import sha3_256
from onionshh.errors import BadData, NetworkUnreachable, NoDirectory, ProtocolError
from onionshh.net.circuits import CircuitFailed
from onionshh.wire import messages as m

logger = logging.getLogger("onionshh.client")

AT_ONCE = 32
WAITING_MOST = 64


class Answering:
    """One endpoint's. `serve` gets each joined circuit, with the record that rode along."""

    def __init__(
        self,
        context: Context,
        identity: Identity,
        vault: Vault,
        serve: Callable[[Exchange, Record | None], None],
    ) -> None:
        self._context = context
        self._identity = identity
        self._vault = vault
        self._serve = serve
        self._limit = trio.CapacityLimiter(AT_ONCE)
        self._waiting = 0
        self.log_full: Callable[[], None] = lambda: None
        """Called when a replay log has no room left: a descriptor with a new key is due."""
        self.expected: dict[bytes, trio.Event] = {}
        """Seeds of our own tests of reachability: set when such an introduction arrives."""

    async def introduced(self, body: bytes, auth_key: bytes) -> None:
        """An INTRODUCE2 came over the circuit known by `auth_key`. Nothing is raised for a bad one."""
        if self._waiting >= WAITING_MOST:
            self._context.drops.count("introductions-waiting")
            return
        self._waiting += 1
        try:
            async with self._limit:
                await self._answer(body, auth_key)
        except ProtocolError as error:
            self._context.drops.count(error.reason)
        except (CircuitFailed, NetworkUnreachable, NoDirectory):
            self._context.drops.count("rendezvous-failed")
        except BadData as error:
            logger.error("an introduction could not be kept: %s", error)
        finally:
            self._waiting -= 1

    async def _answer(self, body: bytes, auth_key: bytes) -> None:
        message = m.Introduce.decode_untrusted(body)
        if message.auth_key != auth_key:
            raise ProtocolError("introduce-auth-key")
        keys = self._vault.named(message.period_byte)
        if keys is None:
            raise ProtocolError("introduce-period")
        sealed_hash = sha3_256(message.sealed)
        if keys.replay.seen(sealed_hash):
            raise ProtocolError("introduce-replayed")
        params = self._context.params
        subcredential = self._identity.blind(keys.period, params.period_seconds).subcredential
        opened = open_introduction_untrusted(message, keys.seal, subcredential)
        # Only what could be opened fills the log: junk from a stranger must not wear it out.
        if not keys.replay.check_and_add(opened.seed) or not keys.replay.check_and_add(sealed_hash):
            raise ProtocolError("introduce-replayed")
        await self._vault.remember(keys, sealed_hash, opened.seed)
        if keys.replay.full:
            self.log_full()
        tested = self.expected.pop(opened.seed, None)
        if tested is not None:
            tested.set()
            return
        record = Record.decode_untrusted(opened.record) if opened.record else None
        if record is not None:
            record.check_dates_untrusted(self._context.clock.wall())
        reply, end_to_end = answer(
            opened,
            rendezvous_keys=keys.rendezvous,
            subcredential=subcredential,
            random_bytes=self._context.chance.bytes,
        )
        await self._meet(opened, reply, end_to_end, record)

    async def _meet(self, opened: Opened, reply: bytes, keys: EndToEndKeys, record: Record | None) -> None:
        row = self._context.view.any_relay(opened.rendezvous_point)
        if row is None:
            raise ProtocolError("rendezvous-unknown-relay")
        for last_try in (False, True):
            try:
                circuit = await self._context.pool.to(self._context.kinds.answering, row, "answer")
                circuit.accept()
                circuit.send(m.RENDEZVOUS1, reply)
                break
            except CircuitFailed:
                if last_try:
                    raise
        exchange = Exchange(
            circuit, keys, as_visitor=False, clock=self._context.clock, drops=self._context.drops
        )
        self._serve(exchange, record)
