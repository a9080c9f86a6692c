"""A relay makes itself known: its descriptor to every authority, and what became of it (SPEC 8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio

from onionshh.config import NetworkFile
from onionshh.core.chance import Chance
from onionshh.core.trust import sign_descriptor
from onionshh.ids import RelayId
from onionshh.net.clocks import Clock
from onionshh.net.directory import ConsensusKeeper, DirectorySource, DirectoryUnreachable
from onionshh.relay.keys import RelayKeys
from onionshh.wire.descriptor import RelayDescriptor

AGAIN_SECONDS = 12 * 3600
RETRY_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)
CHECK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class About:
    """What a relay says of itself besides its keys. `bandwidth`: bytes a second it offers."""

    nickname: str
    host: str
    port: int
    family: tuple[RelayId, ...] = ()
    bandwidth: int = 10_000_000


class Publisher:
    """Publishes, publishes again, and tells `say` when the relay is listed, or why it is not."""

    def __init__(
        self,
        *,
        about: About,
        keys: RelayKeys,
        network: NetworkFile,
        source: DirectorySource,
        keeper: ConsensusKeeper,
        clock: Clock,
        chance: Chance,
        say: Callable[[str], None],
    ) -> None:
        self._about = about
        self._keys = keys
        self._network = network
        self._source = source
        self._keeper = keeper
        self._clock = clock
        self._chance = chance
        self._say = say
        self._published = 0
        self._taken = False
        self._last_word = ""
        self.now = trio.Event()
        """Set it to publish at once: a key has changed."""

    async def run(self) -> None:
        """For ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            while True:
                self.now = trio.Event()
                await self._publish()
                with trio.move_on_after(AGAIN_SECONDS * self._chance.between(0.8, 1.0)):
                    await self.now.wait()

    async def _publish(self) -> None:
        """Until at least one authority took it."""
        tries = 0
        while not await self._offer():
            await trio.sleep(
                RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)] * self._chance.between(0.8, 1.2)
            )
            tries += 1

    async def _offer(self) -> bool:
        self._published = max(self._clock.wall(), self._published + 1)
        about = self._about
        descriptor = RelayDescriptor(
            identity=self._keys.relay_id,
            onion_key=self._keys.onion_key.public,
            nickname=about.nickname,
            host=about.host,
            port=about.port,
            family=tuple(sorted(about.family)),
            bandwidth=about.bandwidth,
            published=self._published,
        )
        document = sign_descriptor(descriptor, self._keys.identity)
        taken = False
        for authority in self._network.authorities:
            try:
                refused = await self._source.publish(authority, document)
            except DirectoryUnreachable as error:
                self._tell(f"not listed: {authority.url} does not answer ({error})")
                continue
            if refused is None:
                taken = self._taken = True
            else:
                self._tell(f"not listed: {authority.url} refuses: {refused}")
        return taken

    async def _watch(self) -> None:
        """Say when we are listed; while we are not, ask why."""
        while True:
            view = self._keeper.current
            row = view.relay(self._keys.relay_id) if view is not None else None
            if row is not None and (row.host, row.port) == (self._about.host, self._about.port):
                self._tell("listed")
            elif row is not None:
                self._tell(f"listed at {row.address}, where it was; the next list will have the new address")
            elif view is not None and self._taken:
                await self._ask_why()
            with trio.move_on_after(CHECK_SECONDS):
                await self._keeper.changed()

    async def _ask_why(self) -> None:
        for authority in self._network.authorities:
            try:
                status = await self._source.status(authority, self._keys.relay_id)
            except DirectoryUnreachable:
                continue
            why = status.get("why")
            if why:
                self._tell(f"not listed: {why}")
            if status.get("known") is False:
                self.now.set()

    def _tell(self, word: str) -> None:
        if word != self._last_word:
            self._last_word = word
            self._say(word)
