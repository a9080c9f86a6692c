"""The way to one endpoint: its descriptor, one of its introducers, a joined circuit (SPEC 10, 11).

Each call is one try. Kept between calls: the descriptor, and which of its introducers failed since the last
success.
"""

from __future__ import annotations

from collections.abc import Callable

from onionshh.client.context import Context
from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.reach.connect import NoAnswer, NotIntroduced, connect
from onionshh.client.reach.descriptor_cache import CheckedDescriptor
from onionshh.client.reach.finder import NoDescriptor, find_or_cached
from onionshh.core.delivery.actions import Failure
from onionshh.core.delivery.sender import NO_ANSWER
from onionshh.core.paths.path import PathImpossible
from onionshh.errors import NetworkUnreachable, NoDirectory
from onionshh.net.circuits import CircuitFailed
from onionshh.wire.endpoint import IntroducerEntry

NOBODY = (
    "no endpoint is published under this address: it is not running, or has not been reachable for a while"
)


class NotReached(Exception):
    """This try led nowhere; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.why)
        self.failure = failure


class Reach:
    """`draw_hops` draws how many relays are between us and the rendezvous point, anew for each try."""

    def __init__(
        self, context: Context, address_key: bytes, *, draw_hops: Callable[[], int], privacy_class: int
    ) -> None:
        self._context = context
        self._address_key = address_key
        self._draw_hops = draw_hops
        self._privacy_class = privacy_class
        self._found: CheckedDescriptor | None = None
        self._tried: set[bytes] = set()

    async def once(self, record: bytes) -> JoinedCircuit:
        """A joined circuit to the endpoint. `record` (b"" for none) rides along. NotReached."""
        try:
            joined = await self._once(record)
        except NoDescriptor:
            raise NotReached(Failure(NOBODY, nobody=True)) from None
        except PathImpossible as error:
            raise NotReached(Failure(str(error), hopeless=True)) from error
        except NotIntroduced as error:
            raise self._in_vain(str(error), forget=error.gone) from error
        except NoAnswer as error:
            raise self._in_vain(NO_ANSWER, forget=True) from error  # its keys may be new
        except NoDirectory as error:
            raise NotReached(Failure(str(error))) from error
        except (CircuitFailed, NetworkUnreachable) as error:
            raise self._in_vain(f"the network does not carry us there ({error})") from error
        self._tried.clear()
        return joined

    async def _once(self, record: bytes) -> JoinedCircuit:
        context = self._context
        if self._found is None or self._found.overdue(context.clock.earliest()):
            self._found = await find_or_cached(context, self._address_key)
            if self._found.overdue(context.clock.earliest()):
                raise NoDescriptor  # the endpoint is away; what the ring has names nobody who knows it
        return await connect(
            context,
            self._found,
            self._introducer(self._found),
            hops=self._draw_hops(),
            privacy_class=self._privacy_class,
            record=record,
        )

    def _introducer(self, found: CheckedDescriptor) -> IntroducerEntry:
        """A random one of those that have not failed since the last success. Once all have, all are tried
        again."""
        earliest = self._context.clock.earliest()
        entries = found.descriptor.introducers
        good = [entry for entry in entries if entry.expiry > earliest] or list(entries)
        left = [entry for entry in good if entry.auth_key not in self._tried]
        if not left:
            self._tried.clear()
        chosen = self._context.chance.choice(left or good)
        self._tried.add(chosen.auth_key)
        return chosen

    def _in_vain(self, why: str, *, forget: bool = False) -> NotReached:
        found = self._found
        if forget or (found is not None and len(self._tried) >= len(found.descriptor.introducers)):
            self._found = None  # every introducer was tried: perhaps there is a newer descriptor
            self._context.descriptors.forget(self._address_key)
        return NotReached(Failure(why))
