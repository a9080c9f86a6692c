"""Makes a relay known: sends its descriptor to every authority, and asks what became of it (SPEC 8).

Anyone who has a copy of a relay's folder can publish under its keys, and the later descriptor counts. So this
relay checks what the network knows of it. When that is not what it said last, it publishes again: at once the
first time, then after ever longer waits, since the other program may do the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from onionshh import __version__
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
from onionshh.net.signals import Poke
from onionshh.relay.keys import RelayKeys
from onionshh.wire.consensus import RelayRow
from onionshh.wire.descriptor import CAPABILITY_RING, Address, RelayDescriptor

SOFTWARE = f"onionshh {__version__}"
AGAIN_SECONDS = 12 * 3600
RETRY_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)
CHECK_SECONDS = 60.0
CORRECT_SECONDS = 60.0
"""From the first correction to the second; each further wait is twice as long, up to AGAIN_SECONDS."""
TESTIFY_SECONDS = 900.0
WHY_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class About:
    """What a relay says of itself besides its keys. `bandwidth`: bytes per second that it offers.
    `capabilities`: set by the relay, by the roles that are mounted on it."""

    nickname: str
    host: str
    port: int
    family: tuple[RelayId, ...] = ()
    bandwidth: int = 10_000_000
    capabilities: int = CAPABILITY_RING
    more: tuple[Address, ...] = ()
    """Where else it is reached."""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """All its addresses, in the order of a descriptor."""
        return tuple(sorted({Address.of(self.host, self.port), *self.more}))


class Dates:
    """The dates of our descriptors. Each is later than any that a directory knows of us."""

    def __init__(self) -> None:
        self.last = 0
        """The date of our last descriptor."""
        self._known = 0
        """The latest date that a directory knows of us, whoever published it."""
        self.taken: dict[str, int] = {}
        """Authority -> the date of the last descriptor that it took."""

    def next(self, best: int) -> int:
        """The date of a descriptor that is published now. `best`: Unix seconds."""
        self.last = max(best, self.last + 1, self._known + 1)
        return self.last

    def go_past(self, known: object, best: int) -> None:
        """A directory knows a descriptor of this date. Our next must be later, unless the date is too far in
        the future."""
        if isinstance(known, int) and known <= best + EARLY_SECONDS:
            self._known = max(self._known, known)


class Corrections:
    """When we may correct what the network knows of us: at once, then after ever longer waits."""

    def __init__(self) -> None:
        self._made = 0
        self._next_at = 0.0

    def make(self, now: float) -> str | None:
        """Make one more. Returns what to say about the next one; None while it is too early."""
        if now < self._next_at:
            return None
        wait = min(CORRECT_SECONDS * 2 ** min(self._made, 16), AGAIN_SECONDS)
        self._made += 1
        self._next_at = now + wait
        return f"; the next time not before {amount(int(wait))} from now" if self._made > 1 else ""

    def all_is_well(self, now: float) -> None:
        """When all has been well for long enough, the next correction counts as the first again."""
        if now > self._next_at + AGAIN_SECONDS:
            self._made = 0


class Reports:
    """What the operator is told: each thing once, until it changes. `listed()`: the consensus we have, if it
    lists us."""

    def __init__(
        self, say: Callable[[str], None], authorities: Sequence[Authority], listed: Callable[[], View | None]
    ) -> None:
        self.say = say
        self._listed = listed
        self._last_word = ""
        self._silent = {authority.url: Condition(say) for authority in authorities}
        self._refused: dict[str, str] = {}
        """Authority -> why it refuses, without the figures, which change."""

    def tell(self, word: str) -> None:
        """Say how we stand, if that has changed."""
        if word != self._last_word:
            self._last_word = word
            self.say(word)

    def answers(self, authority: Authority) -> None:
        """The authority answers, perhaps again."""
        self._silent[authority.url].over(f"{authority.url} answers again")

    def does_not_answer(self, authority: Authority, error: DirectoryUnreachable) -> None:
        """The authority does not answer. This changes nothing while the consensus we have lists us."""
        word = f"{authority.url} does not answer ({error})"
        view = self._listed()
        if view is None:
            word = f"not listed: {word}"
        else:
            word += f"; the consensus it has lists this relay until {utc(view.consensus.valid_until)}"
        self._silent[authority.url].holds(word)

    def takes(self, authority: Authority) -> None:
        """The authority took our descriptor."""
        self._refused.pop(authority.url, None)

    def refuses(self, authority: Authority, why: str) -> None:
        """The authority refused our descriptor."""
        word = f"{authority.url} refuses: {_short(why)}"
        alike = re.sub(r"\d+", "0", word)
        if self._refused.get(authority.url) != alike:
            self._refused[authority.url] = alike
            self.say(word if self._listed() is not None else f"not listed: {word}")


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
        self.about = about
        """What our next descriptor says."""
        self._keys = keys
        self._authorities = network.authorities
        self._source = source
        self._keeper = keeper
        self._clock = clock
        self._chance = chance
        self._dates = Dates()
        self._corrections = Corrections()
        self.reports = Reports(say, network.authorities, self._listed)
        self._testified_at: float | None = None
        self.now = Poke()
        """Send it to publish at once: a key has changed."""

    async def run(self) -> None:
        """Publish until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            while True:
                await self._publish()
                with trio.move_on_after(AGAIN_SECONDS * self._chance.between(0.8, 1.0)):
                    await self.now.wait()

    async def testify(self) -> None:
        """Our clock and the network's differ. Tell the directories what time it is here: their operators want
        to know. This is done once in `TESTIFY_SECONDS`, however often it is called."""
        now = self._clock.monotonic()
        if self._testified_at is None or now >= self._testified_at + TESTIFY_SECONDS:
            self._testified_at = now
            await self.offer()

    async def _publish(self) -> None:
        """Publish until at least one authority took the descriptor."""
        tries = 0
        while not await self.offer():
            await trio.sleep(
                RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)] * self._chance.between(0.8, 1.2)
            )
            tries += 1

    @property
    def published(self) -> int:
        """The date of our last descriptor, Unix seconds; 0 before the first."""
        return self._dates.last

    async def offer(self) -> bool:
        """Send our descriptor to every authority. Returns whether any took it."""
        published = self._dates.next(self._clock.best())
        about, signer = self.about, self._keys.signer
        descriptor = RelayDescriptor(
            identity=self._keys.relay_id,
            onion_key=self._keys.onion_key.public,
            nickname=about.nickname,
            addresses=about.addresses,
            signing=signer.signing,
            family=tuple(sorted(about.family)),
            bandwidth=about.bandwidth,
            capabilities=about.capabilities,
            software=SOFTWARE,
            published=published,
        )
        document = sign_descriptor(descriptor, signer.key)
        taken = False
        for authority in self._authorities:
            try:
                refused = await self._source.publish(authority, document)
                self.reports.answers(authority)
                if refused is None:
                    taken = True
                    self._dates.taken[authority.url] = published
                    self.reports.takes(authority)
                else:
                    self.reports.refuses(authority, refused)
                    status = await self._source.status(authority, self._keys.relay_id)
                    self._dates.go_past(status.get("published"), self._clock.best())
            except DirectoryUnreachable as error:
                self.reports.does_not_answer(authority, error)
        return taken

    async def _watch(self) -> None:
        """Say when we are listed. While we are not, or not as we said, ask why. Ask now and then even if all
        is well: if a copy of us publishes, the directory knows it before the network does."""
        asked_at = self._clock.monotonic()
        while True:
            now, view = self._clock.monotonic(), self._keeper.current
            row = view.relay(self._keys.relay_id) if view is not None else None
            well = row is not None and self._is_ours(row)
            if row is not None and well:
                self.reports.tell(self._listed_where(row))
                self._corrections.all_is_well(now)
            elif view is None:
                self.reports.tell("not listed: the consensus it has is over, and no newer one could be had")
            if self._keeper.out_of_time:
                await self.testify()
            elif self._dates.taken and (now >= asked_at + CHECK_SECONDS or (view is not None and not well)):
                asked_at = now
                await self._ask(view, row)
            with trio.move_on_after(CHECK_SECONDS):
                await self._keeper.changed()

    @property
    def _address(self) -> str:
        return str(self.about.addresses[0])

    def _is_ours(self, row: RelayRow) -> bool:
        ours = [pair.public for pair in self._keys.onion_keys()]
        return set(row.addresses) <= set(self.about.addresses) and row.onion_key in ours

    def _listed_where(self, row: RelayRow) -> str:
        missing = [str(address) for address in self.about.addresses if address not in row.addresses]
        if not missing:
            return "listed"
        return f"listed at {row.address}; the directory has not reached it at {' and '.join(missing)}"

    async def _ask(self, view: View | None, row: RelayRow | None) -> None:
        """Ask what the directories know of us, and why we are not listed as we said, if we are not."""
        tell = self.reports.tell
        for authority in self._authorities:
            taken = self._dates.taken.get(authority.url, 0)
            try:
                status = await self._source.status(authority, self._keys.relay_id)
            except DirectoryUnreachable as error:
                self.reports.does_not_answer(authority, error)
                continue
            self.reports.answers(authority)
            published, address, why = (status.get(name) for name in ("published", "address", "why"))
            if isinstance(published, int) and published > self._dates.last:
                self._dates.go_past(published, self._clock.best())
                where = f"at {address}" if address != self._address else "and says it is at this very address"
                self._correct(f"another program runs with this relay's keys {_short(where)}")
            elif status.get("known") is False:
                self._correct(f"not listed: {authority.url} knows nothing of this relay")
            elif isinstance(published, int) and published < taken:
                self._correct(f"{authority.url} holds an older descriptor than the last that it took")
            elif view is None or (row is not None and self._is_ours(row)):
                pass
            elif row is not None and not set(row.addresses) <= set(self.about.addresses):
                tell(f"listed at {row.address}, its old address; the next list will have the new one")
            elif row is not None:
                tell("listed with its old onion key; the next list will have the new one")
            elif why:
                tell(f"not listed: {_short(why)}")

    def _correct(self, word: str) -> None:
        """The network knows something else of us than what we said last: publish again, unless it is too
        early."""
        again = self._corrections.make(self._clock.monotonic())
        if again is not None:
            self.reports.tell(f"{word}; this one publishes again{again}")
            self.now.send()

    def _listed(self) -> View | None:
        view = self._keeper.current
        return view if view is not None and view.relay(self._keys.relay_id) is not None else None


def _short(word: object) -> str:
    """What a directory said, for one line."""
    return str(word)[:WHY_CHARACTERS]
