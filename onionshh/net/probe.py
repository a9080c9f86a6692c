"""Does a relay answer? An authority checks this with the handshake of a link, and nothing more (SPEC 8)."""

from __future__ import annotations

from onionshh.core.base.chance import Chance
from onionshh.core.base.params import Params
from onionshh.core.link.link import LinkClosed, LinkInitiator
from onionshh.errors import ProtocolError
from onionshh.net.clocks import Clock
from onionshh.net.transport import Dialer, StreamBroken
from onionshh.reasons import Reason
from onionshh.wire.descriptor import RelayDescriptor

_IN_WORDS = {
    Reason.LINK_ENDED: "it closed the connection in the handshake; does the program there hold these keys?",
    Reason.LINK_BROKEN: "the connection broke during the handshake",
}


async def probe(
    descriptor: RelayDescriptor, *, dialer: Dialer, clock: Clock, params: Params, chance: Chance
) -> str | None:
    """None if the relay proved its keys at its address, else why not. The caller limits the time."""
    address = descriptor.address
    try:
        stream = await dialer.dial(descriptor.host, descriptor.port)
    except StreamBroken as error:
        return f"no connection to {address}: {error}"
    try:
        machine = LinkInitiator(
            responder=descriptor.identity,
            onion_key=descriptor.onion_key,
            identity=None,
            params=params,
            chance=chance,
            now=clock.monotonic(),
        )
        unsent = machine.data_to_send()
        while unsent:
            unsent = unsent[stream.send_some(unsent) :]
            if unsent:
                await stream.wait_sendable()
        while not machine.is_open and not machine.is_closed:
            machine.receive_data(await stream.receive_some(), clock.monotonic())
        if machine.is_open:
            return None
        event = machine.next_event()
        reason = event.reason if isinstance(event, LinkClosed) else Reason.LINK_ENDED
        return f"the handshake with {address} failed: {_IN_WORDS.get(reason, reason)}"
    except StreamBroken as error:
        return f"the connection to {address} broke: {error}"
    except ProtocolError:
        return "the onion key that it published is not valid"
    finally:
        stream.close()
