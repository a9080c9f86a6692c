"""What an endpoint says to one peer, while there is something to say (SPEC 12)."""

from __future__ import annotations

import trio

from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.delivery.lanes import Lane
from onionshh.client.delivery.sending import Opening, Sending
from onionshh.client.session.calling import Calling
from onionshh.client.session.going_on import path_info


class Called:
    """The Sender for one peer, and how it calls that peer."""

    def __init__(self, calling: Calling, sending: Sending) -> None:
        self.calling = calling
        self.sending = sending
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        with self._scope:
            await self.sending.keep_time()

    def adopt(self, lane: Lane) -> None:
        """This lane to the peer is open."""
        carrier = lane.carrier
        if isinstance(carrier, JoinedCircuit):
            paths = (path_info(carrier.circuit),)
            self.sending.adopt(lane, Opening(carrier, False, paths, lane.session, resumed=True))

    def close(self, why: str, *, keep: bool = False) -> None:
        self.sending.close(why, keep=keep)
        self.sending.let_go_of_lanes()
        self._scope.cancel()
