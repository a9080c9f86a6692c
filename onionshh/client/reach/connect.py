"""One try at reaching an endpoint: rendezvous point, introduction, joined circuit (SPEC 11).

The two circuits are made side by side. If anything fails, both are closed and nothing of the try is used
again: the next try has a new point, a new seed and a new path.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.reach.descriptor_cache import CheckedDescriptor
from onionshh.client.steps import InWords, steps
from onionshh.core.base.patience import ANSWER_SECONDS, RENDEZVOUS_SECONDS
from onionshh.core.circuit.purpose import Purpose, meeting_kind
from onionshh.core.endpoint.introduce import Introduction
from onionshh.core.paths.path import PathImpossible
from onionshh.errors import ProtocolError
from onionshh.ids import AuthKey, Cookie, RelayId
from onionshh.net.circuits import Circuit, CircuitFailed
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from onionshh.wire.endpoint import IntroducerEntry


class NotIntroduced(Exception):
    """The introducer did not pass us on. `gone`: it does not know the endpoint any more. `busy`: it says that
    too many come."""

    def __init__(self, why: str, *, gone: bool, busy: bool = False) -> None:
        super().__init__(why)
        self.gone = gone
        self.busy = busy


class NoStatus(NotIntroduced):
    """The introducer has our message, and then said nothing or closed the circuit. It may have passed us on
    or not."""

    def __init__(self, why: str) -> None:
        super().__init__(why, gone=False)


class NoAnswer(Exception):
    """We were introduced, and the endpoint did not come to the rendezvous point."""


async def pay_nothing(message: bytes) -> bytes:
    """The message as it is."""
    return message


async def connect(
    context: Context,
    found: CheckedDescriptor,
    introducer: IntroducerEntry,
    *,
    hops: int,
    privacy_class: int,
    record: bytes,
    keep_session: bool = False,
    pay: Callable[[bytes], Awaitable[bytes]] = pay_nothing,
) -> tuple[JoinedCircuit, bytes]:
    """A joined circuit to the endpoint, and the root of the session that the endpoint keeps if it is asked
    to. `record` (b"" for none) rides along with the introduction. `pay` adds a proof of work to the
    INTRODUCE1; NotIntroduced if that takes too long.

    Raises PathImpossible (of the meeting circuit only), NotIntroduced, NoAnswer, CircuitFailed,
    NetworkUnreachable.
    """
    meeting: Circuit | None = None
    asking: Circuit | None = None
    try:
        meeting, asking = await both(
            lambda: context.pool.take(
                Purpose.RENDEZVOUS, meeting_kind(hops, privacy_class, of_session=keep_session)
            ),
            lambda: to_introducer(context, RelayId(introducer.relay_id), Purpose.INTRODUCE),
        )
        introduction = Introduction(
            auth_key=AuthKey(introducer.auth_key),
            period=found.period,
            subcredential=found.subcredential,
            rendezvous_key=found.descriptor.rendezvous_key,
            seal_key=found.descriptor.seal_key,
            rendezvous_points=(meeting.path[-1].identity,),
            privacy_class=privacy_class,
            record=record,
            keep_session=keep_session,
            random_bytes=context.chance.bytes,
        )
        message = await pay(introduction.message)
        await establish(meeting, introduction.cookie)
        steps.debug("we wait for the endpoint at %s", InWords(meeting))
        await introduce(asking, message)
        steps.debug("we are introduced through %s", InWords(asking))
        asking.close(Reason.FINISHED)
        with trio.move_on_after(RENDEZVOUS_SECONDS):
            answer = await meeting.receive()
            keys = introduction.finish(answer.body)
            steps.debug("the endpoint has come to the meeting")
            return context.joined(meeting, keys, as_visitor=True), keys.root
        raise NoAnswer
    except BaseException as error:
        for circuit in (meeting, asking):
            if circuit is not None:
                circuit.close(Reason.NOT_CONNECTED)
        if isinstance(error, ProtocolError):
            context.drops.count(error.reason)
            raise CircuitFailed(error.reason) from error
        raise


async def establish(meeting: Circuit, cookie: Cookie) -> None:
    """The relay at the end of this circuit becomes our rendezvous point. CircuitFailed."""
    status = m.status_untrusted(
        await meeting.ask(m.ESTABLISH_RENDEZVOUS, cookie, m.RENDEZVOUS_ESTABLISHED, ANSWER_SECONDS)
    )
    if status != m.OK:
        raise CircuitFailed(Reason.RENDEZVOUS_REFUSED)
    meeting.expect_join(m.RENDEZVOUS2)


async def to_introducer(context: Context, relay: RelayId, purpose: Purpose) -> Circuit:
    """A circuit to an introducer, or to a relay that is a way back. NotIntroduced."""
    row = context.view.any_relay(relay)
    if row is None:
        raise NotIntroduced("an introducer left the network", gone=True)
    try:
        return await context.pool.to(purpose, row)
    except PathImpossible as error:
        raise NotIntroduced(str(error), gone=False) from error
    except CircuitFailed as error:
        raise NotIntroduced(f"an introducer cannot be reached ({error})", gone=False) from error


async def introduce(circuit: Circuit, message: bytes) -> None:
    """Give the introducer an INTRODUCE1 to pass on. NotIntroduced, NoStatus."""
    try:
        answer = await circuit.ask(m.INTRODUCE1, message, m.INTRODUCE_ACK, ANSWER_SECONDS)
    except CircuitFailed as error:
        raise NoStatus(f"an introducer does not answer ({error})") from error
    status = m.status_untrusted(answer)
    if status == m.NO_SUCH_KEY:
        raise NotIntroduced("an introducer does not know the endpoint any more", gone=True)
    if status != m.OK:
        raise NotIntroduced("an introducer is busy", gone=False, busy=True)


async def both(
    first: Callable[[], Awaitable[Circuit]], second: Callable[[], Awaitable[Circuit]]
) -> tuple[Circuit, Circuit]:
    """Two circuits made side by side; if either fails, the other is closed and the error raised."""
    made: dict[int, Circuit] = {}
    errors: list[Exception] = []

    async def make(number: int, build: Callable[[], Awaitable[Circuit]]) -> None:
        try:
            made[number] = await build()
        except Exception as error:
            errors.append(error)
            nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(make, 0, first)
            nursery.start_soon(make, 1, second)
    except BaseException:
        _close(made)
        raise
    if errors:
        _close(made)
        raise errors[0]
    return made[0], made[1]


def _close(made: dict[int, Circuit]) -> None:
    for circuit in made.values():
        circuit.close(Reason.NOT_CONNECTED)
