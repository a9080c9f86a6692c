"""A session as it stands on disk (SPEC 12).

One document a session, written anew after each change. What belongs to one moment only is not in it: an offer
of a refresh, silences, and the budget.
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
from onionshh.core.session.session import Chains, History, Mail, Marks, PendingAnswer, Session, SessionId
from onionshh.core.session.way_back import WAYS_MOST, WayBack
from onionshh.crypto import refresh
from onionshh.errors import ProtocolError
from onionshh.geometry import HASH, KEY, SESSION_ID
from onionshh.ids import AuthKey, RelayId
from onionshh.reasons import Reason
from onionshh.wire.packing import Bin, Int, ListOf, fields, pack, unpack_untrusted

VERSION: Final = 1
DOCUMENT_MOST: Final = 16_384

_KEY = Bin(exact=KEY)
_NUMBER = Int(NUMBER_MOST)
_CHAINS = fields(
    Int(2**32 - 1),  # epoch
    _KEY,  # secret
    fields(_KEY, _NUMBER, _NUMBER),  # the chain that is spent
    fields(_KEY, _NUMBER, ListOf(fields(_NUMBER, _KEY), SKIPPED_MOST)),  # the chain that is accepted
)
_SHAPE = fields(
    Int(255),  # version
    Bin(exact=SESSION_ID),
    Int(1),  # introduced
    _CHAINS,
    ListOf(_CHAINS, 1),
    ListOf(fields(Bin(exact=HASH), Bin(exact=4 + refresh.ANSWER)), 1),
    fields(_NUMBER, _KEY),  # mail
    fields(_NUMBER, _NUMBER, _NUMBER, _NUMBER, _NUMBER),  # history
    fields(Int(1), Int(1), Int(1), Bin(most=KEY)),  # marks
    ListOf(fields(_KEY, _KEY, Int(2**32 - 1)), WAYS_MOST),
)


def to_document(session: Session) -> bytes:
    """The bytes to keep. They hold secrets: only a file of mode 0600 may have them."""
    history, marks = session.history, session.marks
    return pack(
        (
            VERSION,
            session.session_id,
            int(session.introduced),
            _chains_row(session.chains),
            [] if session.other is None else [_chains_row(session.other)],
            [] if session.pending is None else [(session.pending.offer, session.pending.body)],
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
    version, session_id, introduced, chains, other, pending, mail, history, marks, ways = row
    if version != VERSION:
        raise ProtocolError(Reason.DOCUMENT_VERSION)
    if marks[3] and len(marks[3]) != KEY:
        raise ProtocolError(Reason.DOCUMENT_SHAPE)
    return Session(
        SessionId(session_id),
        introduced=bool(introduced),
        chains=_chains(chains),
        mail=Mail(*mail),
        history=History(*history),
        marks=Marks(bool(marks[0]), bool(marks[1]), bool(marks[2]), marks[3]),
        other=_chains(other[0]) if other else None,
        pending=PendingAnswer(*pending[0]) if pending else None,
        way_back=tuple(WayBack(RelayId(relay), AuthKey(key), expires) for relay, key, expires in ways),
    )


def _chains_row(chains: Chains) -> Sequence[Any]:
    spend, accept = chains.spend, chains.accept
    return (
        chains.epoch,
        chains.secret,
        (spend.key, spend.index, spend.settled),
        (accept.key, accept.base, sorted(accept.skipped.items())),
    )


def _chains(row: Sequence[Any]) -> Chains:
    epoch, secret, (spend_key, index, settled), (accept_key, base, skipped) = row
    numbers = [number for number, _ in skipped]
    if settled > index or numbers != sorted(set(numbers)) or any(number >= base for number in numbers):
        raise ProtocolError(Reason.DOCUMENT_SHAPE)
    steps = {number: Step(step) for number, step in skipped}
    return Chains(
        epoch, secret, SpendingChain(spend_key, index, settled), AcceptingChain(accept_key, base, steps)
    )
