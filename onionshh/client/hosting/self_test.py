"""One test of whether a stranger reaches the endpoint: fresh circuits, the ring, an introducer (SPEC 11).

The test is a real introduction, sealed to our own descriptor like any visitor's. Only we know its seed, so
only we can tell that it was ours. We act on what the test finds: we publish again to a ring that does not
have what we published, and replace an introducer that does not bring the test.
"""

from __future__ import annotations

from typing import Final

import trio

from onionshh.client.context import Context
from onionshh.client.hosting.introducers import Introducers
from onionshh.client.hosting.introduction_service import IntroductionService
from onionshh.client.hosting.publication import Publication
from onionshh.client.reach.descriptor_cache import CheckedDescriptor
from onionshh.client.reach.finder import NoDescriptor, find
from onionshh.client.reach.toll import Toll, TooDear
from onionshh.core.base.classes import TALK
from onionshh.core.base.patience import ANSWER_SECONDS, ARRIVAL_SECONDS
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.endpoint.introduce import Introduction
from onionshh.core.endpoint.publication import ANOTHER
from onionshh.core.paths.enough import lacking
from onionshh.core.paths.path import choose_target
from onionshh.crypto.identity import IdentityKeys
from onionshh.errors import BadData, NetworkUnreachable, NoDirectory, ProtocolError
from onionshh.ids import AuthKey, RelayId
from onionshh.net.circuits import Circuit, CircuitFailed
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from onionshh.wire.consensus import RelayRow
from onionshh.wire.endpoint import IntroducerEntry, ProofWanted

BUSY_MOST: Final = 4
"""So often running an introducer may be busy for a test that pays twice as much each time."""
BUSY_KEPT: Final = 64


def _nobody_waits(seconds: float, tries: int) -> None:
    """Nobody waits for a test."""


class SelfTest:
    """Tests one endpoint; `once` is one test."""

    def __init__(
        self,
        context: Context,
        identity: IdentityKeys,
        introducers: Introducers,
        introduction_service: IntroductionService,
        publication: Publication,
    ) -> None:
        self._context = context
        self._identity = identity
        self._introducers = introducers
        self._introduction_service = introduction_service
        self._publication = publication
        self._toll = Toll(context)
        self._busy_for: dict[bytes, int] = {}
        """By introducer: how often running it was busy for us although we had paid."""

    async def once(self) -> str | None:
        """Run one test. None when a stranger's introduction would arrive, else why not."""
        context = self._context
        try:
            if lack := lacking(context.view, context.chance, context.builder.own_relays):
                return lack
            found = await find(context, self._identity.A)
            if found.overdue(context.clock.earliest()):
                raise NoDescriptor
            return await self._over_the_ring(found)
        except NoDescriptor:
            self._publication.lost()
            trouble = self._publication.trouble
            return f"its descriptor is not on the ring{f': {trouble}' if trouble else ''}"
        except TooDear:
            return "so many strangers come that a minute of work is not enough to be let in"
        except (NoDirectory, BadData) as error:
            return str(error)
        except (CircuitFailed, NetworkUnreachable, ProtocolError) as error:
            return f"the network does not carry a test to it ({error})"

    async def _over_the_ring(self, found: CheckedDescriptor) -> str | None:
        """Judge what the ring shows of us, and go on from there as a visitor would."""
        if other := await self._publication.compare(found):
            return other
        standing = {entry.auth_key for entry in self._introducers.entries}
        entries = [entry for entry in found.descriptor.introducers if entry.auth_key in standing]
        if not entries:
            self._publication.again()
            if self._publication.disputed:
                return ANOTHER
            return "the descriptor on the ring names none of its present introducers"
        entry = self._context.chance.choice(self._introducers.doubtful(entries))
        row = self._context.view.any_relay(RelayId(entry.relay_id))
        if row is None:
            self._introducers.left(entry.auth_key)
            return "an introducer left the network"
        return await self._through(entry, row, self._introduction(found, entry), found.descriptor.proof)

    def _introduction(self, found: CheckedDescriptor, entry: IntroducerEntry) -> Introduction:
        context = self._context
        return Introduction(
            auth_key=AuthKey(entry.auth_key),
            period=found.period,
            subcredential=found.subcredential,
            rendezvous_key=found.descriptor.rendezvous_key,
            seal_key=found.descriptor.seal_key,
            rendezvous_points=(
                choose_target(context.view, context.chance, exclude=context.builder.own_relays).identity,
            ),
            privacy_class=TALK.number,
            record=b"",
            random_bytes=context.chance.bytes,
        )

    async def _through(
        self,
        entry: IntroducerEntry,
        row: RelayRow,
        introduction: Introduction,
        proof: ProofWanted | None,
    ) -> str | None:
        """Introduce ourselves through one introducer, and wait until that arrives. `proof`: what a stranger
        must prove."""
        introducers = self._introducers
        message = await self._toll.paid(introduction.message, proof, _nobody_waits)
        with self._introduction_service.expect(introduction.seed) as arrived:
            circuit = await self._context.pool.to(Purpose.TEST, row)
            try:
                status = await self._status(entry, circuit, message)
                if status == m.BUSY and introducers.proof is not None:
                    return self._busy(entry)
                if status != m.OK:
                    introducers.failed(entry.auth_key, "refuses introductions")
                    return "an introducer refuses introductions"
                with trio.move_on_after(ARRIVAL_SECONDS):
                    await arrived.wait()
                    introducers.proved(entry.auth_key)
                    self._busy_for.pop(entry.auth_key, None)
                    self._toll.let_in()
                    return None
                introducers.failed(entry.auth_key, "does not bring introductions")
                return "an introduction did not arrive"
            finally:
                circuit.close(Reason.FINISHED)

    def _busy(self, entry: IntroducerEntry) -> str:
        """An introducer turned us away although we had paid. Strangers may have paid more; but if one says so
        again and again, it does not do its work, or nobody can pay for it."""
        if len(self._busy_for) > BUSY_KEPT:
            self._busy_for.clear()
        times = self._busy_for[entry.auth_key] = self._busy_for.get(entry.auth_key, 0) + 1
        if times > BUSY_MOST:
            del self._busy_for[entry.auth_key]
            self._introducers.failed(entry.auth_key, "lets nobody in who has paid")
            return "an introducer lets nobody in who has paid"
        self._toll.turned_away()
        return "so many strangers come that an introducer is busy"

    async def _status(self, entry: IntroducerEntry, circuit: Circuit, message: bytes) -> int:
        """What the introducer answers."""
        try:
            answer = await circuit.ask(m.INTRODUCE1, message, m.INTRODUCE_ACK, ANSWER_SECONDS)
        except CircuitFailed:
            self._introducers.doubt(entry.auth_key)
            raise
        return m.status_untrusted(answer)
