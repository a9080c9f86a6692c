"""One endpoint while it is hosted: its parts, how they are put together, and the tasks that run them.

A program sees it as `Endpoint`. The parts share one database, held under a lock, so an identity runs only
once in a data folder. The database is erased and closed last, when nothing writes any more.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import trio

from onionshh.client.context import Context
from onionshh.client.hosting.inbox import Inbox
from onionshh.client.hosting.introducers import Introducers
from onionshh.client.hosting.introduction_service import IntroductionService
from onionshh.client.hosting.key_store import KEY_MIGRATIONS, KeyStore
from onionshh.client.hosting.letter_keys import LETTER_KEY_MIGRATIONS, LetterKeys
from onionshh.client.hosting.owed_store import OWED_MIGRATIONS
from onionshh.client.hosting.pair_inbox import PairInbox
from onionshh.client.hosting.part_store import PART_MIGRATIONS
from onionshh.client.hosting.peers import Peers
from onionshh.client.hosting.publication import Publication
from onionshh.client.hosting.reachability import ReachabilityWatch
from onionshh.client.hosting.self_test import SelfTest
from onionshh.client.hosting.whisper_store import WHISPER_MIGRATIONS
from onionshh.client.mail.deposit_store import DEPOSIT_MIGRATIONS
from onionshh.client.mail.pair_reading import is_pair_name
from onionshh.client.mail.part_store import MAIL_PART_MIGRATIONS, PartsOnDisk
from onionshh.client.outbox_store import OUTBOX_MIGRATIONS
from onionshh.client.peer import Peer
from onionshh.client.pool import STUBS
from onionshh.client.receipt import Receipt
from onionshh.client.session.store import SESSION_MIGRATIONS
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.delivery.incoming import Taken
from onionshh.core.delivery.record import TTL_DEFAULT_SECONDS, new_whisper
from onionshh.core.endpoint.admission import Admission
from onionshh.crypto.identity import IdentityKeys, encode_address
from onionshh.crypto.primitives import kdf
from onionshh.errors import BadData, Closed
from onionshh.ids import WhisperId
from onionshh.net.database import Database
from onionshh.net.store import Folder

DATABASE_FILE = "endpoint.db"
MIGRATIONS = (
    KEY_MIGRATIONS[0] + WHISPER_MIGRATIONS[0],
    WHISPER_MIGRATIONS[1],
    WHISPER_MIGRATIONS[2] + SESSION_MIGRATIONS[0] + OUTBOX_MIGRATIONS[0],
    PART_MIGRATIONS[0],
    LETTER_KEY_MIGRATIONS[0]
    + f"{WHISPER_MIGRATIONS[3]};"
    + MAIL_PART_MIGRATIONS[0]
    + DEPOSIT_MIGRATIONS[0]
    + OWED_MIGRATIONS[0],
    DEPOSIT_MIGRATIONS[1],
)
"""For the one file of keys, whispers, sessions, parts, letters and what is said first. A new migration goes
at the end, whichever it is for."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What works behind one endpoint. Made once by `put_together`."""

    identity: IdentityKeys = field(repr=False)
    database: Database
    key_store: KeyStore
    inbox: Inbox | None
    """None if it takes no letters."""
    pair_inbox: PairInbox | None
    """None without an inbox."""
    peers: Peers
    introduction_service: IntroductionService
    introducers: Introducers
    publication: Publication
    self_test: SelfTest
    reachability: ReachabilityWatch


def put_together(
    context: Context,
    identity: IdentityKeys,
    database: Database,
    *,
    introducers: int,
    give_up_after: int | None = None,
    receipts: bool = True,
    senders: bool = False,
    inbox: bool = True,
) -> Parts:
    """The parts of one endpoint over its database. Nothing is read yet, and nothing runs."""
    key_store = KeyStore(database, context.chance.bytes, context.params.replay_log_entries)
    peers = Peers(context, database, give_up_after=give_up_after, receipts=receipts)
    if senders:
        peers.check_senders(identity.A, key_store)
    service = IntroductionService(context, identity, key_store, peers.introduced, peers.accepting.resumed)
    admission = Admission(context.chance.bytes)
    held = Introducers(context, key_store, introducers, service.introduced, admission=admission)
    letter_keys = LetterKeys(database, context.chance.bytes) if inbox else None
    publication = Publication(context, identity, key_store, held, receipts=receipts, letter_keys=letter_keys)
    letters, beside = None, None
    if letter_keys is not None:
        # Strangers may fill one of the two stores; parts of known peers are in the other one.
        of_strangers = PartsOnDisk(context, database, lambda name: not is_pair_name(name))
        of_peers = PartsOnDisk(context, database, is_pair_name)
        made = letters = Inbox(context, identity, letter_keys, of_strangers, peers)
        beside = PairInbox(context, peers, lambda: made.crowded, of_peers)
    self_test = SelfTest(context, identity, held, service, publication)
    reachability = ReachabilityWatch(context, held, publication, self_test.once)
    return Parts(
        identity,
        database,
        key_store,
        letters,
        beside,
        peers,
        service,
        held,
        publication,
        self_test,
        reachability,
    )


class Hosting:
    """Made by `open_hosting`; `start` it once, `aclose` it."""

    def __init__(self, context: Context, parts: Parts, held: ExitStack) -> None:
        self.parts = parts
        self._context = context
        self._held = held
        self._scope = trio.CancelScope()
        self._over = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    @property
    def over(self) -> bool:
        """Whether it has ended, and everything is closed."""
        return self._over.is_set()

    async def start(self) -> None:
        """Run it in the node's nursery."""
        for purpose in (Purpose.ANSWER, Purpose.TEST):
            self._context.pool.use(self._context.builder.kind(purpose), stubs=STUBS)
        await self._context.nursery.start(self._run)

    async def aclose(self) -> None:
        """End it, and wait until all is on disk and closed, also when cancelled."""
        self._scope.cancel()
        with trio.CancelScope(shield=True):
            await self._over.wait()

    # What the program does with its whispers.

    async def next(self) -> tuple[Taken, int] | None:
        """The next whisper, and how often it was shown, this time included. None once hosting has ended."""
        return await self.parts.peers.receiving.next()

    async def finish(self, whisper_id: WhisperId) -> None:
        """The program has finished this whisper. Closed, BadData."""
        self._check_open()
        await self.parts.peers.receiving.finish(whisper_id)

    async def reply(self, taken: Taken, body: bytes) -> Receipt:
        """The program has finished this whisper, with a reply. Closed, BadData."""
        self._check_open()
        record = new_whisper(
            body,
            expires=max(taken.expires, self._context.clock.best() + TTL_DEFAULT_SECONDS),
            privacy_class=taken.privacy_class,
            random_bytes=self._context.chance.bytes,
            in_reply_to=taken.whisper_id,
        )
        return await self.parts.peers.receiving.finish(taken.whisper_id, record)

    def peer_of(self, taken: Taken) -> Peer | None:
        """Who sent this whisper, if there is a session."""
        return self.peer_with(taken.session)

    def peer_with(self, session_id: bytes | None) -> Peer | None:
        """The peer of this session, if there is one."""
        session = self.parts.peers.keeper.find(session_id)
        return None if session is None else Peer(self.parts.peers, session)

    def sender_of(self, taken: Taken) -> str | None:
        """The address that its sender has proved to be its own, if any."""
        session = self.parts.peers.keeper.find(taken.session)
        return None if session is None or not session.marks.sender else encode_address(session.marks.sender)

    def peers(self) -> list[Peer]:
        """All peers on disk, the one heard of last coming first. Closed."""
        self._check_open()
        return [Peer(self.parts.peers, session) for session in self.parts.peers.known()]

    def let_go(self, whisper_id: WhisperId) -> None:
        """The program has let a whisper go, so a task that waits may have it. Any thread may call this."""
        if not self._over.is_set():
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self.parts.peers.receiving.let_go, whisper_id)

    # Inside.

    def _check_open(self) -> None:
        if self._over.is_set():
            raise Closed("This endpoint is not open.")

    async def _run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        parts = self.parts
        self._context.hosted[parts.identity.A] = parts.key_store
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(parts.peers.run)
                    nursery.start_soon(parts.introducers.run)
                    nursery.start_soon(parts.publication.run)
                    nursery.start_soon(parts.reachability.run)
                    if parts.inbox is not None:
                        nursery.start_soon(parts.inbox.run)
                    if parts.pair_inbox is not None:
                        nursery.start_soon(parts.pair_inbox.run)
                    nursery.start_soon(parts.database.keep_erased)
                    task_status.started()
        finally:
            self._context.hosted.pop(parts.identity.A, None)
            for purpose in (Purpose.ANSWER, Purpose.TEST):
                self._context.pool.leave(self._context.builder.kind(purpose), stubs=STUBS)
            await parts.database.aclose()
            self._held.close()
            self._over.set()


async def open_hosting(
    context: Context,
    identity: IdentityKeys,
    introducers: int,
    give_up_after: int | None,
    *,
    receipts: bool = True,
    senders: bool = False,
    inbox: bool = True,
) -> Hosting:
    """Hold an endpoint's folder and read its database. DataInUse, BadData."""
    folder = endpoint_folder(context.folder, identity)
    held = ExitStack()
    try:
        held.enter_context(folder.lock())
        database = Database(folder.database(DATABASE_FILE), MIGRATIONS, context.run_blocking)
        held.callback(database.close)
        parts = put_together(
            context,
            identity,
            database,
            introducers=introducers,
            give_up_after=give_up_after,
            receipts=receipts,
            senders=senders,
            inbox=inbox,
        )
        await parts.peers.load()
        await parts.key_store.load()
        if parts.inbox is None or parts.pair_inbox is None:
            await _forget_letters(context, database)
        else:
            await parts.inbox.load()
            await parts.pair_inbox.load()
        context.check_open()
    except BaseException:
        held.close()
        raise
    return Hosting(context, parts, held)


async def _forget_letters(context: Context, database: Database) -> None:
    """Without an inbox, nobody else erases an earlier run's letter keys and parts of letters when their
    time is over. BadData."""
    keys, parts = LetterKeys(database, context.chance.bytes), PartsOnDisk(context, database)
    await keys.load()
    await parts.load()
    with suppress(BadData):  # a full disk: they are erased at another start
        await keys.tidy(context.clock.earliest())
        await parts.tidy()


def endpoint_folder(parent: Folder, identity: IdentityKeys) -> Folder:
    """The folder of an endpoint's database. Its name is a hash, so that a listing shows no address."""
    return parent.inside("endpoints").inside(endpoint_folder_name(identity))


def endpoint_folder_name(identity: IdentityKeys) -> str:
    """The name of the folder alone."""
    return kdf("endpoint folder", identity.A, length=8).hex()
