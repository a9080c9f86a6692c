"""A relay that keeps mailboxes, reduced to its role: what tests say to it, and the disk under it.

The mailboxes' owner and the depositors are real: they sign, and they pay with real proofs of work where a
test does not say otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from onionshh.core.base.params import Params
from onionshh.core.mailbox.item import ItemKey, make_list, make_put
from onionshh.core.mailbox.work import NO_PROOF, Search, put_task
from onionshh.core.paths.view import View
from onionshh.crypto.identity import SigningKey
from onionshh.geometry import MAILBOX_VALUE
from onionshh.rendezvous.mailbox_rows import Held, ItemStore
from onionshh.rendezvous.mailbox_store import MailboxStore
from onionshh.rendezvous.mailboxes import Mailboxes
from onionshh.wire import mailbox as w
from onionshh.wire import messages as m
from tests.core import networks
from tests.core.networks import DAY, START, plain, relay_id
from tests.rendezvous.circuits import Circuit, Relay
from tests.seeded import seeded

OWN = relay_id(0)
PERIOD = START // DAY
WALL = START + DAY // 2 + 60
HOUR = 3600
OWNER = SigningKey.generate(seeded(77))
INBOX = w.Mailbox(w.INBOX, OWNER.public, PERIOD)
BOARD = w.Mailbox(w.BOARD, OWNER.public, PERIOD)
PAIR = w.Mailbox(w.PAIR, OWNER.public, PERIOD)


def value(number: int) -> bytes:
    """A value that is found again on disk: SQLite does not keep a large one in one piece."""
    return (b"value %06d of a mailbox; " % number * MAILBOX_VALUE)[:MAILBOX_VALUE]


def mark(number: int) -> bytes:
    """A part of that value."""
    return value(number)[:25]


@lru_cache
def key(number: int) -> ItemKey:
    return ItemKey.generate(seeded(10_000 + number))


@lru_cache(maxsize=4096)
def _nonce(task: bytes, effort: int) -> bytes:
    search = Search(task, effort, seeded(1))
    while not search.look(1000):
        pass
    return search.nonce


class Disk:
    """A file of mailboxes. While it `fails`, nothing is written or read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = MailboxStore(str(folder / "mailboxes.db"))
        self.fails = False
        self.commits: list[int] = []

    def commit(self, rows: Sequence[object]) -> None:
        if self.fails:
            raise OSError("No space left on device")
        self.commits.append(len(rows))
        self.store.commit(rows)

    def read(self, keys: Sequence[int]) -> list[bytes | None]:
        if self.fails:
            raise OSError("Input/output error")
        return self.store.read(keys)

    def rows(self) -> list[Held]:
        return self.store.rows()

    def close(self) -> None:
        self.store.close()

    @property
    def bytes(self) -> bytes:
        """All that lies in any file, as whoever takes the disk would find it."""
        return b"".join(path.read_bytes() for path in sorted(self.folder.iterdir()))


class House:
    """One relay with mailboxes. A second one on the same disk is the first after a restart."""

    def __init__(
        self,
        disk: ItemStore,
        *,
        params: Params | None = None,
        view: View | None = None,
        wall: int = WALL,
    ) -> None:
        self.view: View | None = view or networks.view(plain(3))
        self.params = params or Params()
        self.exact = wall
        self.role = Mailboxes(
            OWN, lambda: self.view, lambda: self.params, lambda: self.exact, store=disk, held=disk.rows()
        )
        self.relay = Relay(self.role, wall=wall)

    def pass_time(self, seconds: int, *, tick: bool = True) -> None:
        self.exact += seconds
        self.relay.wall += seconds
        self.relay.now += seconds
        if tick:
            self.relay.tick()

    def put(
        self,
        number: int,
        mailbox: w.Mailbox = INBOX,
        *,
        seconds: int = HOUR,
        revision: int = 0,
        content: int | None = None,
        effort: int = 96,
        empty: bool = False,
    ) -> w.Put:
        """A deposit under the key of this number, signed and paid. `content`: the number of its value."""
        data = b"" if empty else value(number if content is None else content)
        expires = self.exact + seconds
        random = self.view.shared_random(mailbox.period) if self.view else None
        nonce = NO_PROOF
        if effort and random is not None and not empty:
            nonce = _nonce(put_task(random, mailbox, key(number).public, expires, data), effort)
        return make_put(
            key(number),
            mailbox,
            expires=expires,
            revision=revision,
            value=data,
            effort=0 if empty else effort,
            nonce=nonce,
        )

    def leaves(self, put: w.Put, circuit: Circuit | None = None) -> w.Kept | None:
        """The answer to a PUT; None while there is none, or when the circuit ends."""
        circuit = circuit or self.relay.circuit()
        got = self.relay.send(circuit, m.PUT, put.encode())
        return w.Kept.decode_untrusted(got[-1][1]) if got else None

    def keeps(
        self, number: int, mailbox: w.Mailbox = INBOX, *, seconds: int = HOUR, effort: int = 96
    ) -> w.Put:
        """Leave an item, which is stored."""
        put = self.put(number, mailbox, seconds=seconds, effort=effort)
        answer = self.leaves(put)
        assert answer == w.Kept(w.STORED), answer
        return put

    def asks(
        self,
        circuit: Circuit,
        mailbox: w.Mailbox = INBOX,
        *,
        mode: int = w.HEADS,
        after: int = 0,
        wait: int = 0,
        owner: SigningKey = OWNER,
    ) -> None:
        asked = listing(circuit.binding, mailbox, mode=mode, after=after, wait=wait, owner=owner)
        self.relay.send(circuit, m.LIST, asked.encode())

    def lists(self, mailbox: w.Mailbox = INBOX, *, mode: int = w.HEADS, after: int = 0) -> w.Items:
        """The answer to a LIST that does not wait."""
        circuit = self.relay.circuit()
        self.asks(circuit, mailbox, mode=mode, after=after)
        return answered(circuit, mode)

    def ids(self, mailbox: w.Mailbox = INBOX, *, after: int = 0) -> list[bytes]:
        """The ids that the mailbox shows."""
        return [head.item_id for head in self.lists(mailbox, after=after).heads]


def listing(
    binding: bytes,
    mailbox: w.Mailbox = INBOX,
    *,
    mode: int = w.HEADS,
    after: int = 0,
    wait: int = 0,
    owner: SigningKey = OWNER,
) -> w.List:
    """A LIST that its mailbox's owner signed for a circuit with this binding."""
    return make_list(
        mailbox, mode=mode, after=after, wait=wait, binding=binding, relay_id=OWN, sign=owner.sign
    )


def answered(circuit: Circuit, mode: int = w.HEADS) -> w.Items:
    """The last answer on a circuit."""
    message_type, body = circuit.got[-1]
    assert message_type == m.ITEMS
    return w.Items.decode_untrusted(body, mode)
