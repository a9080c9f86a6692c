"""One side of one session: what is left of a conversation while it holds no circuit (SPEC 12). Pure.

Both sides have two hash chains, V and E. The side that introduced itself spends V and accepts E, the other
side spends E and accepts V. A driver syncs the session's document to disk after each `spend` or `burn` and
before it acts on it.

The side that introduced renews the chains from time to time, with a new key exchange in two records:

| side       | REFRESH sent | REFRESHED sent or received   | first tag of the new chain that is accepted |
|------------|--------------|------------------------------|---------------------------------------------|
| introduced | offers       | spends new V, accepts both E | forgets the old E                           |
| was asked  |              | spends old E, accepts both V | spends new E, forgets the old V             |

So either side may crash at any point: the chains that the other side still uses are accepted until it shows
that it has the new ones. Of the old chains, the side that introduced keeps E alone (`before`), and nothing
from which the other chains or secrets came. The side that was asked must keep all of both (`coming`), because
another offer may replace the one that it answered.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final, NewType

from onionshh.core.base.buckets import TokenBucket
from onionshh.core.session.chains import WINDOW, AcceptingChain, SpendingChain, Step
from onionshh.core.session.way_back import WayBack
from onionshh.crypto import refresh
from onionshh.crypto.primitives import equal, kdf, sha3_256
from onionshh.errors import ProtocolError
from onionshh.geometry import KEY, SESSION_ID
from onionshh.ids import RandomBytes
from onionshh.reasons import Reason

SessionId = NewType("SessionId", bytes)
"""The name of a session for its two sides, 16 bytes, the same for good."""

UNANSWERED_MOST: Final = 16
"""So many steps may be out without an answer. The other side's window is twice as long. After that the side
that introduced introduces anew. The other side cannot; it goes on with steps that ask for a circuit, whose
answer settles all."""
ASKING_MOST: Final = WINDOW - 1
"""The same for those steps: all of them are in the other side's window, whichever of them arrived."""
SILENCES_MOST: Final = 2
"""After so many silences in a row, the side that introduced introduces anew."""
REFRESH_TAGS: Final = 64
REFRESH_SECONDS: Final = 24 * 3600
LEGS_EVERY_SECONDS: Final = 5.0
LEGS_BURST: Final = 8
"""A session's budget: one RESUME that asks for a circuit every five seconds, eight at once. The side that
spends keeps to it as well."""
MAIL_PERIODS: Final = 8
"""The mail key is kept as it was so many periods ago."""
MAIL_AHEAD_MOST: Final = 16
"""So many steps of the mail key are taken at once, for a later period."""

_EPOCH: Final = struct.Struct(">I")
_U64: Final = struct.Struct(">Q")


@dataclass(slots=True)
class Chains:
    """The chains of one epoch. `secret` (rs) goes into the keys of the next epoch."""

    epoch: int
    secret: bytes = field(repr=False)
    spend: SpendingChain
    accept: AcceptingChain

    @classmethod
    def derived(cls, epoch: int, keys: bytes, *, introduced: bool) -> Chains:
        """From V 32 ‖ E 32 ‖ rs 32."""
        v, e, secret = keys[:KEY], keys[KEY : 2 * KEY], keys[2 * KEY : 3 * KEY]
        ours, theirs = (v, e) if introduced else (e, v)
        return cls(epoch, secret, SpendingChain(ours), AcceptingChain(theirs))


@dataclass(frozen=True, slots=True)
class Spent:
    """A step that was spent, and where it stands."""

    epoch: int
    index: int
    step: Step = field(repr=False)


@dataclass(slots=True)
class Mail:
    """The key that names and seals what waits for the two sides in mailboxes. `period`: whose key it is."""

    period: int
    key: bytes = field(repr=False)

    def keep_from(self, period: int) -> None:
        """Erase the keys of periods that are too long ago. `period`: the present one."""
        while self.period < period - MAIL_PERIODS:
            self.period += 1
            self.key = kdf("mail", self.key)

    def key_of(self, period: int) -> bytes | None:
        """The key of a period. None if it is erased, was never there, or is too far ahead."""
        if not 0 <= period - self.period <= MAIL_AHEAD_MOST:
            return None
        key = self.key
        for _ in range(period - self.period):
            key = kdf("mail", key)
        return key


@dataclass(slots=True)
class History:
    """Dates in Unix seconds, and numbers for people."""

    started_at: int
    refreshed_at: int
    used_at: int
    """By consensus time."""
    exchanges: int = 1
    resumed: int = 0


@dataclass(slots=True)
class Marks:
    """`confirmed`: the other side has shown that the session is on its disk. `kept`: the program wants it
    kept. `answered`: the program has answered or spoken first. `sender`: the address key that the other side
    has proved to be its own, b"" for none."""

    confirmed: bool = False
    kept: bool = False
    answered: bool = False
    sender: bytes = b""


def _legs() -> TokenBucket:
    return TokenBucket(1 / LEGS_EVERY_SECONDS, LEGS_BURST)


@dataclass(slots=True)
class Budgets:
    """How many circuits the other side may ask for, and how many this side may."""

    theirs: TokenBucket = field(default_factory=_legs)
    ours: TokenBucket = field(default_factory=_legs)


@dataclass(frozen=True, slots=True)
class Coming:
    """The chains after a REFRESH that was answered, until the other side shows that it has them. `offer`: the
    hash of what was offered. `body`: the REFRESHED."""

    offer: bytes
    body: bytes = field(repr=False)
    chains: Chains


class Session:
    """`introduced`: whether this side introduced itself. `before`: the old chain that such a side still
    accepts. `coming`: the next chains, at the side that was asked. `way_back`: where the other side can be
    reached."""

    __slots__ = (
        "_offer",
        "before",
        "budgets",
        "chains",
        "coming",
        "history",
        "introduced",
        "mail",
        "marks",
        "session_id",
        "silences",
        "way_back",
    )

    def __init__(
        self,
        session_id: SessionId,
        *,
        introduced: bool,
        chains: Chains,
        mail: Mail,
        history: History,
        marks: Marks | None = None,
        before: AcceptingChain | None = None,
        coming: Coming | None = None,
        way_back: tuple[WayBack, ...] = (),
    ) -> None:
        self.session_id = session_id
        self.introduced = introduced
        self.chains = chains
        self.mail = mail
        self.history = history
        self.marks = Marks() if marks is None else marks
        self.before = before
        self.coming = coming
        self.way_back = way_back
        self.silences = 0
        self.budgets = Budgets()
        self._offer: refresh.Offer | None = None

    def __repr__(self) -> str:
        return f"<Session epoch {self.chains.epoch}>"

    @classmethod
    def started(cls, root: bytes, *, introduced: bool, period: int, wall: int) -> Session:
        """The session of an exchange. `root`: from its rendezvous handshake. `period`: the one that the
        introduction names. `wall`: Unix seconds."""
        keys = kdf("session", root, length=4 * KEY)
        return cls(
            SessionId(kdf("session id", root, length=SESSION_ID)),
            introduced=introduced,
            chains=Chains.derived(0, keys, introduced=introduced),
            mail=Mail(period, keys[3 * KEY :]),
            history=History(wall, wall, wall),
        )

    # Spending.

    @property
    def may_spend(self) -> bool:
        """Whether the next step may be spent. If not, introduce anew."""
        most = UNANSWERED_MOST if self.introduced else ASKING_MOST
        out = self.chains.spend.unanswered
        return self.marks.confirmed and self.silences < SILENCES_MOST and out < most

    @property
    def last_without_answer(self) -> bool:
        """Whether the next step is the last that may be out. It must ask for a circuit, which answers."""
        return self.chains.spend.unanswered >= UNANSWERED_MOST - 1

    def spend(self) -> Spent:
        """The next step. Sync the document before anything is sent under it."""
        index, step = self.chains.spend.spend()
        return Spent(self.chains.epoch, index, step)

    def answered(self, spent: Spent) -> None:
        """The other side has answered to this step, so it has this session."""
        self.silences = 0
        if spent.epoch == self.chains.epoch:
            self.chains.spend.answered(spent.index)

    def silent(self) -> None:
        """Nothing came back to a step in time."""
        self.silences += 1

    # Accepting.

    @property
    def accepting(self) -> tuple[AcceptingChain, ...]:
        """The chains whose tags are accepted now."""
        other = self.before if self.coming is None else self.coming.chains.accept
        return (self.chains.accept,) if other is None else (self.chains.accept, other)

    def accepted(self, chain: AcceptingChain) -> AcceptingChain | None:
        """A step of this chain was used, so the other side has this session. Returns the chain that is not
        accepted any more because of it."""
        self.marks.confirmed = True
        over: AcceptingChain | None = None
        if self.coming is not None and chain is self.coming.chains.accept:
            over, self.chains, self.coming = self.chains.accept, self.coming.chains, None
        elif chain is self.chains.accept:
            over, self.before = self.before, None
        return over

    # Renewing.

    def refresh_due(self, wall: int) -> bool:
        """Whether this side should offer a refresh. `wall`: Unix seconds."""
        chains = self.chains
        many = chains.spend.index >= REFRESH_TAGS or chains.accept.base >= REFRESH_TAGS
        return self.introduced and (many or wall >= self.history.refreshed_at + REFRESH_SECONDS)

    def offer(self, random_bytes: RandomBytes) -> bytes:
        """The body of REFRESH, the same until it is answered."""
        if self._offer is None:
            self._offer = refresh.Offer(random_bytes)
        return _EPOCH.pack(self.chains.epoch + 1) + self._offer.public

    def answer_untrusted(self, body: bytes, random_bytes: RandomBytes) -> bytes | None:
        """The body of REFRESHED for a REFRESH. Sync the document before it is sent. None if no refresh is
        possible with it. Raises ProtocolError."""
        if self.introduced or len(body) != _EPOCH.size + refresh.OFFER:
            raise ProtocolError(Reason.REFRESH_SHAPE)
        epoch: int = _EPOCH.unpack_from(body)[0]
        if epoch != self.chains.epoch + 1:
            return None  # an old copy of one that is done, or of one that never was
        offer = body[_EPOCH.size :]
        digest = sha3_256(offer)
        if self.coming is not None and equal(self.coming.offer, digest):
            return self.coming.body
        answer, shared, kem = refresh.respond_untrusted(offer, random_bytes)
        chains = self._renewed(epoch, shared, kem, offer + answer)
        self.coming = Coming(digest, _EPOCH.pack(epoch) + answer, chains)
        return self.coming.body

    def refreshed_untrusted(self, body: bytes, wall: int) -> bool:
        """REFRESHED arrived. Returns whether the chains are new from now on: then sync the document. Raises
        ProtocolError."""
        if not self.introduced or len(body) != _EPOCH.size + refresh.ANSWER:
            raise ProtocolError(Reason.REFRESH_SHAPE)
        epoch: int = _EPOCH.unpack_from(body)[0]
        offer = self._offer
        if offer is None or epoch != self.chains.epoch + 1:
            return False
        answer = body[_EPOCH.size :]
        shared, kem = offer.finish_untrusted(answer)
        new = self._renewed(epoch, shared, kem, offer.public + answer)
        self.before, self.chains, self._offer = self.chains.accept, new, None
        self.history.refreshed_at = wall
        return True

    def _renewed(self, epoch: int, shared: bytes, kem: bytes, said: bytes) -> Chains:
        x, y = said[: refresh.OFFER], said[refresh.OFFER :]
        parts = (*_split(x), *_split(y))
        keys = kdf("refresh", self.chains.secret, _U64.pack(epoch), shared, kem, *parts, length=3 * KEY)
        return Chains.derived(epoch, keys, introduced=self.introduced)


def _split(said: bytes) -> tuple[bytes, bytes]:
    """The X25519 part and the ML-KEM part."""
    return said[:KEY], said[KEY:]
