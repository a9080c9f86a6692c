"""Says whether strangers can reach the endpoint, and keeps that true. Each gain and loss is said at once, the
number of introducers when it has settled, and a new reason when the last one is no longer the reason.
"""

from __future__ import annotations

import trio

from onionshh.cli.remarks import WHYS_MOST
from onionshh.cli.service import status
from onionshh.cli.talk import counted
from onionshh.cli.voice import Voice
from onionshh.client.endpoint import Endpoint
from onionshh.client.hosting.reachability import Reachability
from onionshh.errors import Closed

LOOK_SECONDS = 5.0
SETTLED_LOOKS = 2
"""A number or a reason that is the same for this many looks has settled."""
SAY_UNREACHABLE_SECONDS = 30.0


class Standing:
    """Says what changes. `wanted`: how many introducers there should be."""

    def __init__(self, voice: Voice, wanted: int) -> None:
        self._voice = voice
        self._wanted = wanted
        self._said = 0
        """How many introducers were reported last."""
        self._whys: set[str] = set()
        """Reasons reported since it was last reachable."""
        self._last: object = None
        self._looks = 0
        self.since: float | None = None
        """When reachability was gained or lost, in trio's time."""

    async def run(self, endpoint: Endpoint) -> None:
        """Report until the endpoint is closed."""
        started = trio.current_time()
        try:
            changes = endpoint.reachability_changes()
            while True:
                with trio.move_on_after(LOOK_SECONDS) as waiting:
                    self.changed(await anext(changes))
                if waiting.cancelled_caught:
                    late = trio.current_time() >= started + SAY_UNREACHABLE_SECONDS
                    self.looked(endpoint.reachability, late)
        except Closed:
            return

    def changed(self, state: Reachability) -> None:
        """Reachability was gained or lost."""
        self.since = trio.current_time()
        if state.reachable:
            self._said = min(state.introducers, self._wanted)
            self._whys.clear()
            self._voice.reachable(self._said, state.seconds)
            status(f"reachable through {counted(self._said, 'introducer')}")
        else:
            status("not reachable now; its output says why")
            self._unreachable(state.why)

    def looked(self, state: Reachability, late: bool) -> None:
        """Reachability is as before. `late`: there was enough time for the first gain."""
        number = min(state.introducers, self._wanted)
        now = number if state.reachable else state.why
        self._looks = self._looks + 1 if now == self._last else 1
        self._last = now
        if self._looks < SETTLED_LOOKS:
            return
        if state.reachable:
            much = 2 * abs(number - self._said) >= max(number, self._said)
            if number and number != self._said and (much or number == self._wanted):
                self._said = number
                self._voice.introducers(number)
                status(f"reachable through {counted(number, 'introducer')}")
        elif late:
            self._unreachable(state.why)

    def _unreachable(self, why: str) -> None:
        if why not in self._whys and len(self._whys) < WHYS_MOST:
            self._whys.add(why)
            self._voice.unreachable(why)
