"""Does a relay answer? An authority checks this with the handshake of a link, and nothing more (SPEC 8).

What comes of it is said in one sentence for people. A relay that hibernates takes connections and ends them
without a word, as some programs do that are no relays: nobody can tell these apart from outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import trio

from onionshh.core.base.chance import Chance
from onionshh.core.base.params import Params
from onionshh.core.link.link import LinkInitiator
from onionshh.errors import ProtocolError
from onionshh.net.clocks import Clock
from onionshh.net.dialling import in_turn
from onionshh.net.tcp import ONLY_TOR
from onionshh.net.transport import Dialer, NothingThere, StreamBroken
from onionshh.wire.descriptor import Address, RelayDescriptor


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

    def __init__(self, *, dialer: Dialer, clock: Clock, chance: Chance) -> None:
        self._dialer = dialer
        self._clock = clock
        self._chance = chance

    @property
    def slower_seconds(self) -> float:
        """As of the dialer."""
        return self._dialer.slower_seconds

    @property
    def reaches_onions(self) -> bool:
        """As of the dialer."""
        return self._dialer.reaches_onions

    async def __call__(self, descriptor: RelayDescriptor, params: Params, /) -> Probed:
        """Whether the relay proves its keys at each address. All are tried at once."""
        turns = in_turn(self._dialer, descriptor.addresses)
        whys: dict[Address, str | None] = dict.fromkeys(descriptor.addresses, ONLY_TOR)

        async def one(address: Address) -> None:
            seconds = check_seconds(params, self._dialer.slower_seconds)
            whys[address] = f"no answer came from {address} within {seconds:g} seconds"
            with trio.move_on_after(seconds):
                whys[address] = await self._check(descriptor, params, address)

        async with trio.open_nursery() as nursery:
            for address in turns:
                nursery.start_soon(one, address)
        missed = {address: why for address, why in whys.items() if why is not None}
        why = next((missed[address] for address in turns if address in missed), "" if turns else ONLY_TOR)
        return Probed(missed, why)

    async def _check(self, descriptor: RelayDescriptor, params: Params, address: Address) -> str | None:
        """None if the relay proved its keys at this address, else why not."""
        try:
            stream = await self._dialer.dial(address.host, address.port)
        except NothingThere:
            return f"nothing listens at {address}"
        except StreamBroken as error:
            return f"no connection to {address}: {error}"
        said = False
        try:
            machine = LinkInitiator(
                responder=descriptor.identity,
                onion_key=descriptor.onion_key,
                identity=None,
                params=params,
                chance=self._chance,
                now=self._clock.monotonic(),
            )
            unsent = machine.data_to_send()
            while unsent:
                unsent = unsent[stream.send_some(unsent) :]
                if unsent:
                    await stream.wait_sendable()
            while not machine.is_open and not machine.is_closed:
                data = await stream.receive_some()
                said = said or bool(data)
                machine.receive_data(data, self._clock.monotonic())
            if machine.is_open:
                return None
        except StreamBroken:
            pass
        except ProtocolError:
            return "the onion key that it published is not valid"
        finally:
            stream.close()
        if said:
            return f"another program answers at {address}, or a relay with other keys"
        return (
            f"what listens at {address} ends the connection without a word: another program, a relay with"
            " other keys, or this one while it hibernates"
        )
