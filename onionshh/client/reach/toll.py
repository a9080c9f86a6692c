"""Works for an introduction to an endpoint that is under load (SPEC 15).

The descriptor says what strangers must prove. If that was not enough, since others proved more, the next try
proves twice as much. A visitor works a minute at most before it is let in or gives this try up.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import trio

from onionshh.client.context import Context
from onionshh.client.mail.proving import Worked, prove
from onionshh.client.steps import steps
from onionshh.core.endpoint.toll import SEED_HEAD, intro_task
from onionshh.core.mailbox.price import EFFORT_MOST
from onionshh.ids import AuthKey
from onionshh.wire.endpoint import ProofWanted
from onionshh.wire.messages import Introduce, Paid

WORK_SECONDS: Final = 60.0
DEAR_SECONDS: Final = 300.0


class TooDear(Exception):
    """The work took longer than a minute, or did a short while ago, or is more than a node ever does."""


class Toll:
    """What one visitor pays to one endpoint."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._paid = 0
        """The effort of the last try."""
        self._least = 0
        """The effort of the next one, at least."""
        self._dear_seed = b""
        self._dear_until = 0.0
        """Until then nothing is worked for that seed: it was too dear. Monotonic seconds."""

    def turned_away(self) -> None:
        """The introducer was busy: what was paid was not enough."""
        self._least = 2 * self._paid

    def let_in(self) -> None:
        """It was enough."""
        self._least = 0

    async def paid(self, message: bytes, wanted: ProofWanted | None, worked: Worked) -> bytes:
        """The INTRODUCE1 with a proof, if one is wanted. `worked`: as in `prove`. TooDear."""
        self._paid = 0
        if wanted is None or wanted.expires <= self._context.clock.earliest():
            return message
        now = self._context.clock.monotonic()
        if wanted.effort > EFFORT_MOST or (wanted.seed == self._dear_seed and now < self._dear_until):
            raise TooDear
        effort = min(EFFORT_MOST, max(wanted.effort, self._least))
        introduce = Introduce.decode_untrusted(message)
        task = intro_task(wanted.seed, AuthKey(introduce.auth_key), effort, introduce.sealed)
        steps.debug("the endpoint is under load: we work to be let in, %d tries on average", effort)
        with trio.move_on_after(WORK_SECONDS):
            nonce = await prove(self._context, task, effort, worked)
            self._paid = effort
            paid = Paid(effort, nonce, wanted.seed[:SEED_HEAD])
            return replace(introduce, pow=paid.encode()).encode()
        self._least = 0
        self._dear_seed, self._dear_until = wanted.seed, self._context.clock.monotonic() + DEAR_SECONDS
        raise TooDear
