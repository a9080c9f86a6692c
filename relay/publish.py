"""A relay makes itself known: its descriptor to every authority, and what became of it (SPEC 8).

Whoever has a copy of a relay's folder can publish under its keys, and the later word counts. So what the
network holds of us is looked at, and when it is not what we said last, we say it again: at once the first
time, then ever later, since the other program may do the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import trio

from onionshh.config import Authority, NetworkFile
from onionshh.core.base.chance import Chance
from onionshh.core.base.words import amount, utc
from onionshh.core.paths.view import View
from onionshh.core.trust import EARLY_SECONDS, sign_descriptor
from onionshh.ids import RelayId
from onionshh.net.authority_client import DirectorySource, DirectoryUnreachable
from onionshh.net.clocks import Clock
from onionshh.net.conditions import Condition
from onionshh.net.consensus_keeper import ConsensusKeeper
from onionshh.relay.keys import RelayKeys
from onionshh.wire.consensus import RelayRow
from onionshh.wire.descriptor import RelayDescriptor, format_address

AGAIN_SECONDS = 12 * 3600
RETRY_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)
CHECK_SECONDS = 60.0
CORRECT_SECONDS = 60.0
"""From the first correction to the second; each further wait is twice as long, up to AGAIN_SECONDS."""
TESTIFY_SECONDS = 900.0
WHY_CHARACTERS = 500


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
        """The date of our last word."""
        self._known = 0
        """The latest that a directory knows of us, whoever said it."""
        self._taken: dict[str, int] = {}
        """Authority -> the date of the last descriptor that it took."""
        self._last_word = ""
        self._silent = {authority.url: Condition(say) for authority in network.authorities}
        self._refused: dict[str, str] = {}
        """Authority -> why it refuses, without the figures, which change."""
        self._corrections = 0
        self._correct_at = 0.0
        self._testified_at: float | None = None
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

    async def testify(self) -> None:
        """Our clock and the network's differ: tell the directories what time it is here, which who runs them
        wants to know. Now and then, however often it is called."""
        now = self._clock.monotonic()
        if self._testified_at is None or now >= self._testified_at + TESTIFY_SECONDS:
            self._testified_at = now
            await self._offer()

    async def _publish(self) -> None:
        """Until at least one authority took it."""
        tries = 0
        while not await self._offer():
            await trio.sleep(
                RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)] * self._chance.between(0.8, 1.2)
            )
            tries += 1

    async def _offer(self) -> bool:
        self._published = published = max(self._clock.best(), self._published + 1, self._known + 1)
        about = self._about
        descriptor = RelayDescriptor(
            identity=self._keys.relay_id,
            onion_key=self._keys.onion_key.public,
            nickname=about.nickname,
            host=about.host,
            port=about.port,
            family=tuple(sorted(about.family)),
            bandwidth=about.bandwidth,
            published=published,
        )
        document = sign_descriptor(descriptor, self._keys.identity)
        taken = False
        for authority in self._network.authorities:
            try:
                refused = await self._source.publish(authority, document)
                self._answers(authority)
                if refused is None:
                    taken = True
                    self._taken[authority.url] = published
                    self._refused.pop(authority.url, None)
                else:
                    self._refuses(authority, refused)
                    self._go_past(await self._source.status(authority, self._keys.relay_id))
            except DirectoryUnreachable as error:
                self._does_not_answer(authority, error)
        return taken

    async def _watch(self) -> None:
        """Say when we are listed; while we are not, or otherwise than we said, ask why. And ask now and then
        whatever is listed: a copy's word is known to the directory before it is to the network."""
        asked_at = self._clock.monotonic()
        while True:
            now, view = self._clock.monotonic(), self._keeper.current
            row = view.relay(self._keys.relay_id) if view is not None else None
            well = row is not None and self._is_ours(row)
            if well:
                self._tell("listed")
                if now > self._correct_at + AGAIN_SECONDS:
                    self._corrections = 0
            elif view is None:
                self._tell("not listed: the consensus in hand is over, and no newer one could be had")
            if self._keeper.out_of_time:
                await self.testify()
            elif self._taken and (now >= asked_at + CHECK_SECONDS or (view is not None and not well)):
                asked_at = now
                await self._ask(view, row)
            with trio.move_on_after(CHECK_SECONDS):
                await self._keeper.changed()

    @property
    def _address(self) -> str:
        return format_address(self._about.host, self._about.port)

    def _is_ours(self, row: RelayRow) -> bool:
        ours = [pair.public for pair in self._keys.onion_keys()]
        return row.address == self._address and row.onion_key in ours

    async def _ask(self, view: View | None, row: RelayRow | None) -> None:
        """What the directories hold of us, and why we are not listed as we said if we are not."""
        for authority in self._network.authorities:
            taken = self._taken.get(authority.url, 0)
            try:
                status = await self._source.status(authority, self._keys.relay_id)
            except DirectoryUnreachable as error:
                self._does_not_answer(authority, error)
                continue
            self._answers(authority)
            published, address, why = (status.get(name) for name in ("published", "address", "why"))
            if isinstance(published, int) and published > self._published:
                self._go_past(status)
                where = f"at {address}" if address != self._address else "and says it is at this very address"
                self._correct(f"another program runs with this relay's keys {_short(where)}")
            elif status.get("known") is False:
                self._correct(f"not listed: {_short(why)}")
            elif isinstance(published, int) and published < taken:
                self._correct(f"{authority.url} holds an older word of this relay than the last it took")
            elif view is None or (row is not None and self._is_ours(row)):
                pass
            elif row is not None and row.address != self._address:
                self._tell(f"listed at {row.address}, where it was; the next list will have the new address")
            elif row is not None:
                self._tell("listed with the onion key that it had; the next list will have the new one")
            elif why:
                self._tell(f"not listed: {_short(why)}")

    def _correct(self, word: str) -> None:
        """The network holds something else of us than what we said last: say it again, in a while."""
        now = self._clock.monotonic()
        if now < self._correct_at:
            return
        wait = min(CORRECT_SECONDS * 2 ** min(self._corrections, 16), AGAIN_SECONDS)
        self._corrections += 1
        self._correct_at = now + wait
        again = f"; the next time not before {amount(int(wait))} from now" if self._corrections > 1 else ""
        self._tell(f"{word}; this one publishes again{again}")
        self.now.set()

    def _go_past(self, status: dict[str, object]) -> None:
        """Our next word must be later than the one that the directory knows, if that one can be of now."""
        known = status.get("published")
        if isinstance(known, int) and known <= self._clock.best() + EARLY_SECONDS:
            self._known = max(self._known, known)

    # What the operator is told.

    def _tell(self, word: str) -> None:
        if word != self._last_word:
            self._last_word = word
            self._say(word)

    def _answers(self, authority: Authority) -> None:
        self._silent[authority.url].over(f"{authority.url} answers again")

    def _does_not_answer(self, authority: Authority, error: DirectoryUnreachable) -> None:
        """Nothing follows from it while the consensus in hand lists us."""
        word = f"{authority.url} does not answer ({error})"
        view = self._listed()
        if view is None:
            word = f"not listed: {word}"
        else:
            word += f"; the consensus in hand lists this relay until {utc(view.consensus.valid_until)}"
        self._silent[authority.url].holds(word)

    def _refuses(self, authority: Authority, why: str) -> None:
        word = f"{authority.url} refuses: {_short(why)}"
        alike = re.sub(r"\d+", "0", word)
        if self._refused.get(authority.url) != alike:
            self._refused[authority.url] = alike
            self._say(word if self._listed() is not None else f"not listed: {word}")

    def _listed(self) -> View | None:
        view = self._keeper.current
        return view if view is not None and view.relay(self._keys.relay_id) is not None else None


def _short(word: object) -> str:
    """What a directory said, for one line."""
    return str(word)[:WHY_CHARACTERS]
