"""A session as it stands on disk (SPEC 12).

Each session is one document, written anew after each change. What belongs to one moment only is not in it: an
offer of a refresh, silences, and the budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from onionshh.core.session.chains import (
    NUMBER_MOST,
    SKIPPED_MOST,
    AcceptingChain,
    SpendingChain,
    Step,
)
from onionshh.core.session.session import Chains, Coming, History, Mail, Marks, Session, SessionId
from onionshh.core.session.way_back import WAYS_MOST, WayBack
from onionshh.errors import ProtocolError
from onionshh.geometry import HASH, KEY, REFRESHED_BODY, SESSION_ID
from onionshh.ids import AuthKey, RelayId
from onionshh.reasons import Reason
from onionshh.wire.packing import Bin, Int, ListOf, fields, pack, unpack_untrusted

VERSION: Final = 1
EPOCH_MOST: Final = 2**31
"""No session is renewed so often."""
DOCUMENT_MOST: Final = 16_384

_KEY = Bin(exact=KEY)
_NUMBER = Int(NUMBER_MOST)
_ACCEPTED = fields(_KEY, _NUMBER, ListOf(fields(_NUMBER, _KEY), SKIPPED_MOST))
_CHAINS = fields(
    Int(EPOCH_MOST),
    _KEY,  # secret
    fields(_KEY, _NUMBER, _NUMBER),  # the chain that is spent
    _ACCEPTED,
)
_SHAPE = fields(
    Int(255),  # version
    Bin(exact=SESSION_ID),
    Int(1),  # introduced
    _CHAINS,
    ListOf(_ACCEPTED, 1),  # the chain before
    ListOf(fields(Bin(exact=HASH), Bin(exact=REFRESHED_BODY), _CHAINS), 1),  # the chains that come
    fields(_NUMBER, _KEY),  # mail
    fields(_NUMBER, _NUMBER, _NUMBER, _NUMBER, _NUMBER),  # history
    fields(Int(1), Int(1), Int(1), Bin(most=KEY)),  # marks
    ListOf(fields(_KEY, _KEY, Int(2**32 - 1)), WAYS_MOST),
)


def to_document(session: Session) -> bytes:
    """The bytes to keep. They hold secrets: only a file of mode 0600 may have them."""
    history, marks, before, coming = session.history, session.marks, session.before, session.coming
    return pack(
        (
            VERSION,
            session.session_id,
            int(session.introduced),
            _chains_row(session.chains),
            [] if before is None else [_accepted_row(before)],
            [] if coming is None else [(coming.offer, coming.body, _chains_row(coming.chains))],
            (session.mail.period, session.mail.key),
            (
                history.started_at,
                history.refreshed_at,
                history.used_at,
                history.exchanges,
                history.resumed,
            ),
            (int(marks.confirmed), int(marks.kept), int(marks.answered), marks.sender),
            [(way.relay, way.auth_key, way.expires) for way in session.way_back],
        )
    )


def from_document_untrusted(document: bytes) -> Session:
    """The session in a document. Raises ProtocolError."""
    row = unpack_untrusted(document, _SHAPE, DOCUMENT_MOST)
    version, session_id, introduced, chains, before, coming, mail, history, marks, ways = row
    if version != VERSION:
        raise ProtocolError(Reason.DOCUMENT_VERSION)
    if (coming if introduced else before) or len(marks[3]) not in (0, KEY):
        raise ProtocolError(Reason.DOCUMENT_SHAPE)
    return Session(
        SessionId(session_id),
        introduced=bool(introduced),
        chains=_chains(chains),
        mail=Mail(*mail),
        history=History(*history),
        marks=Marks(bool(marks[0]), bool(marks[1]), bool(marks[2]), marks[3]),
        before=_accepted(before[0]) if before else None,
        coming=_coming(coming[0]) if coming else None,
        way_back=tuple(WayBack(RelayId(relay), AuthKey(key), expires) for relay, key, expires in ways),
    )


def _chains_row(chains: Chains) -> Sequence[Any]:
    spend = chains.spend
    spent = (spend.key, spend.index, spend.settled)
    return chains.epoch, chains.secret, spent, _accepted_row(chains.accept)


def _accepted_row(accept: AcceptingChain) -> Sequence[Any]:
    return accept.key, accept.base, sorted(accept.skipped.items())


def _chains(row: Sequence[Any]) -> Chains:
    epoch, secret, (key, index, settled), accepted = row
    if settled > index:
        raise ProtocolError(Reason.DOCUMENT_SHAPE)
    return Chains(epoch, secret, SpendingChain(key, index, settled), _accepted(accepted))


def _accepted(row: Sequence[Any]) -> AcceptingChain:
    key, base, skipped = row
    numbers = [number for number, _ in skipped]
    if numbers != sorted(set(numbers)) or any(number >= base for number in numbers):
        raise ProtocolError(Reason.DOCUMENT_SHAPE)
    return AcceptingChain(key, base, {number: Step(step) for number, step in skipped})


def _coming(row: Sequence[Any]) -> Coming:
    offer, body, chains = row
    return Coming(offer, body, _chains(chains))
