"""The two sides of a session as they are in life: each with its table and its disk, synced before it acts."""

from __future__ import annotations

from dataclasses import dataclass, field

from onionshh import geometry as g
from onionshh.core.session.document import from_document_untrusted, to_document
from onionshh.core.session.resumption import ANSWER_SALT, Resumption, SpentStep
from onionshh.core.session.session import Session, Spent
from onionshh.core.session.table import SessionTable
from onionshh.ids import AuthKey, RandomBytes, RelayId
from onionshh.wire.messages import Resume
from tests.core.session import plain
from tests.seeded import seeded

AUTH = AuthKey(b"\xaa" * g.KEY)
POINTS = tuple(RelayId(bytes((number,)) * g.KEY) for number in (1, 2, 3))
PERIOD = 20_000
WALL = 1_728_000_000


def started(seed: int = 1, *, confirmed: bool = True) -> tuple[Session, Session]:
    """A new session, as the visitor has it and as the endpoint has it."""
    root = seeded(seed)(g.KEY)
    visitor = Session.started(root, introduced=True, period=PERIOD, wall=WALL)
    endpoint = Session.started(root, introduced=False, period=PERIOD, wall=WALL)
    visitor.marks.confirmed = endpoint.marks.confirmed = confirmed
    return visitor, endpoint


@dataclass
class Keys:
    """Every key that anybody sealed with, in this world. None may come twice."""

    used: set[bytes] = field(default_factory=set)

    def use(self, *keys: bytes) -> None:
        """These keys are used now, for the first time."""
        for key in keys:
            assert key not in self.used, "a key was used twice"
            self.used.add(key)


@dataclass(frozen=True)
class Sent:
    """A RESUME that left, and what its sender remembers of it."""

    message: bytes
    spent: Spent
    step: SpentStep
    legs: int


@dataclass(frozen=True)
class Taken:
    """A RESUME that was accepted. `answer`: the RENDEZVOUS2, if it asked for a circuit."""

    step: bytes
    resumption: Resumption
    answer: bytes | None


class Side:
    """One side. `disk`: the documents that were synced, the last one last."""

    def __init__(self, session: Session, random_bytes: RandomBytes, keys: Keys) -> None:
        self._random_bytes = random_bytes
        self._keys = keys
        self.session = session
        self.table = SessionTable()
        self.table.add(session)
        self.disk = [to_document(session)]

    def sync(self) -> None:
        """What is in memory is on disk now."""
        self.disk.append(to_document(self.session))

    def restart(self, back: int = 0) -> None:
        """The process ends, and goes on with its disk. `back`: with the copy of so many syncs ago."""
        del self.disk[max(1, len(self.disk) - back) :]
        self.session = from_document_untrusted(self.disk[-1])
        self.table = SessionTable()
        self.table.add(self.session)

    def begin(self, session: Session) -> None:
        """A new introduction: another session takes the place of this one."""
        self.table.remove(self.session.session_id)
        self.session = session
        self.table.add(session)
        self.disk = [to_document(session)]

    def resume(self, legs: int = 0, record: bytes = b"") -> Sent:
        """Spend a step, sync, and send."""
        spent = self.session.spend()
        self.sync()
        step = SpentStep(spent.step, self._random_bytes(g.RESUME_SALT))
        self._keys.use(plain.resume_key(spent.step, step.salt))
        return Sent(step.seal(AUTH, Resumption(1, POINTS[:legs], record)), spent, step, legs)

    def take(self, message: bytes) -> Taken | None:
        """Look up, open, burn, sync, act. None if the tag is not known."""
        cell = Resume.decode_untrusted(message)
        found = self.table.find(cell.tag)
        if found is None:
            return None
        step = SpentStep(found.step, cell.salt)
        resumption = step.open_untrusted(cell)
        self.table.burn(found)
        self.sync()
        answer = None
        if resumption.rendezvous_points:
            salt = self._random_bytes(ANSWER_SALT)
            rendezvous1, keys = step.answer(0, salt)
            self._keys.use(plain.kdf("answer", step.leg(0).reply_key, salt), keys.forward, keys.backward)
            answer = rendezvous1[g.COOKIE :]
        return Taken(found.step, resumption, answer)

    def answered(self, sent: Sent, rendezvous2: bytes) -> None:
        """An answer came to a RESUME that asked for a circuit."""
        sent.step.finish_untrusted(0, rendezvous2)
        self.session.answered(sent.spent)

    def reaches(self, other: Side) -> bool:
        """Whether one RESUME reaches the other side now. Its answer comes back."""
        sent = self.resume(1)
        taken = other.take(sent.message)
        if taken is None or taken.answer is None:
            self.session.silent()
            return False
        self.answered(sent, taken.answer)
        return True

    def offers(self) -> bytes:
        """The REFRESH."""
        return self.session.offer(self._random_bytes)

    def answers(self, refresh: bytes) -> bytes | None:
        """The REFRESHED, not synced so far."""
        return self.table.answer_refresh_untrusted(self.session, refresh, self._random_bytes)

    def renewed(self, refreshed: bytes) -> bool:
        """The REFRESHED came; not synced so far."""
        return self.table.refreshed_untrusted(self.session, refreshed, WALL)


def sides(seed: int = 1, keys: Keys | None = None) -> tuple[Side, Side]:
    """The visitor's side and the endpoint's."""
    used = Keys() if keys is None else keys
    visitor, endpoint = started(seed)
    return Side(visitor, seeded(seed + 1), used), Side(endpoint, seeded(seed + 2), used)


def renew(visitor: Side, endpoint: Side) -> bool:
    """One refresh without any trouble."""
    refreshed = endpoint.answers(visitor.offers())
    if refreshed is None:
        return False
    endpoint.sync()
    renewed = visitor.renewed(refreshed)
    visitor.sync()
    return renewed
