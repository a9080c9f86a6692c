"""Does a relay answer? An authority checks this with the handshake of a link, and nothing more (SPEC 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import trio

from onionshh.core.base.chance import Chance
from onionshh.core.base.params import Params
from onionshh.core.link.link import LinkClosed, LinkInitiator
from onionshh.errors import ProtocolError
from onionshh.net.clocks import Clock
from onionshh.net.dialling import in_turn
from onionshh.net.tcp import ONLY_TOR
from onionshh.net.transport import Dialer, StreamBroken
from onionshh.reasons import Reason
from onionshh.wire.descriptor import Address, RelayDescriptor

_IN_WORDS = {
    Reason.LINK_ENDED: "it closed the connection in the handshake; does the program there hold these keys?",
    Reason.LINK_BROKEN: "the connection broke during the handshake",
}


class Probed(NamedTuple):
    """What came of a check. `missed`: where the relay did not answer, and why. `why`: what is said of it in
    one sentence; empty if it answered wherever it could be asked."""

    missed: Mapping[Address, str]
    why: str = ""


def check_seconds(params: Params, slower_seconds: float) -> float:
    """How long one address may take. `slower_seconds`: as of the dialer."""
    return min(params.handshake_seconds, params.interval_seconds) + slower_seconds


class LinkProbe:
    """Checks relays at all addresses that the dialer can try."""

    def __init__(self, *, dialer: Dialer, clock: Clock, params: Params, chance: Chance) -> None:
        self._dialer = dialer
        self._clock = clock
        self._params = params
        self._chance = chance

    @property
    def slower_seconds(self) -> float:
        """As of the dialer."""
        return self._dialer.slower_seconds

    @property
    def reaches_onions(self) -> bool:
        """As of the dialer."""
        return self._dialer.reaches_onions

    async def __call__(self, descriptor: RelayDescriptor, /) -> Probed:
        """Whether the relay proves its keys at each address. All are tried at once."""
        turns = in_turn(self._dialer, descriptor.addresses)
        whys: dict[Address, str | None] = dict.fromkeys(descriptor.addresses, ONLY_TOR)

        async def one(address: Address) -> None:
            seconds = check_seconds(self._params, self._dialer.slower_seconds)
            whys[address] = f"no answer at {address} within {seconds:g} seconds"
            with trio.move_on_after(seconds):
                whys[address] = await self._check(descriptor, address)

        async with trio.open_nursery() as nursery:
            for address in turns:
                nursery.start_soon(one, address)
        missed = {address: why for address, why in whys.items() if why is not None}
        why = next((missed[address] for address in turns if address in missed), "" if turns else ONLY_TOR)
        return Probed(missed, why)

    async def _check(self, descriptor: RelayDescriptor, address: Address) -> str | None:
        """None if the relay proved its keys at this address, else why not."""
        try:
            stream = await self._dialer.dial(address.host, address.port)
        except StreamBroken as error:
            return f"no connection to {address}: {error}"
        try:
            machine = LinkInitiator(
                responder=descriptor.identity,
                onion_key=descriptor.onion_key,
                identity=None,
                params=self._params,
                chance=self._chance,
                now=self._clock.monotonic(),
            )
            unsent = machine.data_to_send()
            while unsent:
                unsent = unsent[stream.send_some(unsent) :]
                if unsent:
                    await stream.wait_sendable()
            while not machine.is_open and not machine.is_closed:
                machine.receive_data(await stream.receive_some(), self._clock.monotonic())
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
