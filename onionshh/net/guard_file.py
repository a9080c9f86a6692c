"""Guards on disk: one file, shared by all processes of a data folder (SPEC 6).

Each update reads the file, changes it and writes it back under a lock. So two processes that start at the
same time draw only one sample.

A node that goes out over C tor has files of its own, also in a folder that it shares: relays that it meets
over tor must not be those that know its IP address from other days, and only it reaches some of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import trio

from onionshh.advice import in_words
from onionshh.core.base.chance import Chance
from onionshh.core.paths.guards import GuardSet, LayerTwoGuards
from onionshh.core.paths.view import View
from onionshh.errors import BadData, NetworkUnreachable, ProtocolError
from onionshh.ids import RelayId
from onionshh.net.conditions import Condition
from onionshh.net.store import Folder
from onionshh.wire.descriptor import Address

logger = logging.getLogger("onionshh.net")

OFFLINE_SECONDS = 10.0
GUARDS_FILE = "guards"
GUARDS_LOCK = "guards.lock"
LAYER_TWO_FILE = "guards-layer-two"
OVER_TOR_FILES = ("guards-tor", "guards-tor-layer-two")
"""The same two of a node with C tor."""

T = TypeVar("T")


class NoGuardAnswers(NetworkUnreachable):
    """All guards have been down for a while: we are offline, or they are not at the listed addresses."""


@dataclass(frozen=True, slots=True)
class _Trouble:
    """What is said of the disk, once when it begins and once when it ends."""

    keeping: Condition
    having: Condition


class GuardFile:
    """The guards of one node. From its first pinned circuit on, also its layer-two guards: one set for the
    whole node, for all that it hosts and for all whom it visits."""

    def __init__(
        self,
        folder: Folder,
        chance: Chance,
        own_relays: frozenset[RelayId] = frozenset(),
        *,
        over_tor: bool = False,
    ) -> None:
        self._folder = folder
        self._over_tor = over_tor
        self._chance = chance
        self._own_relays = own_relays
        self.guards = GuardSet()
        self.layer_two = LayerTwoGuards()
        self.offline = False
        """Whether all guards have been down for a while: we have no network, or their addresses changed."""
        self._places: dict[RelayId, tuple[Address, ...]] = {}
        self._seen: dict[str, bytes] = {}
        self._unwritten: set[str] = set()
        self._trouble = _Trouble(Condition(logger.warning), Condition(logger.warning))
        self._begun: set[str] = set()
        """Files that this process has read or written once. It can then continue without the disk."""

    @property
    def _guards_file(self) -> str:
        return OVER_TOR_FILES[0] if self._over_tor else GUARDS_FILE

    @property
    def _layer_two_file(self) -> str:
        return OVER_TOR_FILES[1] if self._over_tor else LAYER_TWO_FILE

    def update(self, view: View) -> None:
        """Follow a new consensus, and write changes to disk. BadData if a file is damaged.

        The layer-two guards are drawn later, at first use. But if they are on disk, a damaged file is told
        now, at the start, where a person sees it."""
        with self._alone():
            pinned = self._layer_two_file in self._begun
            if not self._begun:
                pinned = self._folder.read(self._layer_two_file) is not None
            self._update_guards(view)
            if pinned:
                self._update_layer_two(view)
        self._see_who_moved(view)

    def _update_guards(self, view: View) -> None:
        document = self._changed_on_disk(self._guards_file)
        if document is not None:
            self.guards = self._parsed(
                self._guards_file, document, GuardSet.from_document_untrusted, self.guards
            )
        changed = self.guards.update(
            view, view.consensus.valid_after, self._chance, self._own_relays, over_tor=self._over_tor
        )
        self._keep(self._guards_file, self.guards.to_document(), changed)

    def _update_layer_two(self, view: View) -> None:
        """Update the layer-two guards, which are never guards in use."""
        document = self._changed_on_disk(self._layer_two_file)
        if document is not None:
            parse = LayerTwoGuards.from_document_untrusted
            self.layer_two = self._parsed(self._layer_two_file, document, parse, self.layer_two)
        usable, dated = self.guards.usable(view), view.consensus.valid_after
        changed = self.layer_two.update(view, dated, self._chance, usable, self._own_relays)
        self._keep(self._layer_two_file, self.layer_two.to_document(), changed)

    def _see_who_moved(self, view: View) -> None:
        rows = [row for row in map(view.relay, self.guards.sample) if row is not None]
        places = {row.identity: row.addresses for row in rows}
        for identity, place in places.items():
            if self._places.get(identity, place) != place:
                self.guards.moved(identity, trio.current_time())
        self._places = places

    def first_hops(self, view: View) -> list[RelayId]:
        """The guards in use, in random order: each may be the first hop of the next circuit."""
        return self._chance.shuffled(self.guards.usable(view))

    async def watch(self, offline: Callable[[], None]) -> None:
        """Call `offline` every second while all guards have been down for a while, until cancelled."""
        since = None
        while True:
            now = trio.current_time()
            since = (since or now) if self.guards.all_down() else None
            self.offline = since is not None and now >= since + OFFLINE_SECONDS
            if self.offline:
                offline()
            await trio.sleep(1.0)

    async def end_when_offline(self, scope: trio.CancelScope) -> None:
        """Cancel `scope`, which needs a guard, when `watch` finds that all have been down for a while."""
        while True:
            await trio.sleep(1.0)
            if self.offline:
                scope.cancel()

    def second_hops(self, view: View) -> list[RelayId]:
        """The layer-two guards, in random order. The first use draws them; from then on `update` keeps them
        current. The first use raises BadData if the file is damaged, OSError if it cannot be written."""
        if self._layer_two_file not in self._begun:
            with self._alone():
                self._update_layer_two(view)
        return self._chance.shuffled(self.layer_two.usable(view, self.guards.usable(view)))

    def _changed_on_disk(self, name: str) -> bytes | None:
        """The file's content, if another process wrote it since we last looked."""
        try:
            document = self._folder.read(name)
        except BadData as error:
            if name not in self._begun:
                raise
            logger.warning("%s", error)
            return None
        if document is None or document == self._seen.get(name):
            return None
        self._seen[name] = document
        return document

    def _parsed(self, name: str, document: bytes, parse: Callable[[bytes], T], in_hand: T) -> T:
        """Guards are never drawn anew because a file is damaged: that is what an attacker would wish for.
        What is in hand already stays, and is written in its place."""
        try:
            return parse(document)
        except ProtocolError as error:
            damaged = f"{self._folder.named(name)} is damaged"
            if name not in self._begun:
                del self._seen[name]  # it stays damaged, also at the next look
                raise BadData(f"{damaged}; remove it, and other guards are drawn.") from error
            logger.warning("%s; it is written anew", damaged)
            self._unwritten.add(name)
            return in_hand

    def _keep(self, name: str, document: bytes, changed: bool) -> None:
        if changed or name in self._unwritten:
            self._write(name, document)
        self._begun.add(name)

    def _write(self, name: str, document: bytes) -> None:
        try:
            self._folder.write(name, document)
        except OSError as error:
            self._unwritten.add(name)
            if name not in self._begun:
                raise  # if we forgot what we drew, each start would draw others
            said = f"{name} could not be written; what is in hand serves on: {in_words(error)}"
            self._trouble.keeping.holds(said)
        else:
            self._trouble.keeping.over(f"{name} can be written again")
            self._unwritten.discard(name)
            self._seen[name] = document

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with ExitStack() as held:
            try:
                held.enter_context(self._folder.turn(GUARDS_LOCK))
            except OSError as error:
                if not self._begun:
                    raise
                self._trouble.having.holds(
                    f"the guards on disk cannot be had; those in hand serve on: {in_words(error)}"
                )
            else:
                self._trouble.having.over("the guards on disk can be had again")
            yield
