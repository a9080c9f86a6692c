"""Sessions: resumptions and their answers, refreshes, ways back, and documents on disk."""

from __future__ import annotations

from dataclasses import replace

from onionshh import geometry as g
from onionshh.core.session.chains import tag_of
from onionshh.core.session.document import from_document_untrusted, to_document
from onionshh.core.session.proof import Proof
from onionshh.core.session.resumption import ANSWER_SALT, Resumption, SpentStep
from onionshh.core.session.session import Session
from onionshh.core.session.table import SessionTable
from onionshh.core.session.way_back import RECEIVED_BODY, decode_ways_untrusted, encode_ways
from onionshh.crypto.primitives import aead_seal, kdf
from onionshh.crypto.refresh import Offer, respond_untrusted
from onionshh.errors import ProtocolError
from onionshh.wire.messages import Resume
from tests.core.session import plain
from tests.core.session.sides import AUTH, POINTS, WALL, Side, renew, sides, started
from tests.core.session.test_document import largest
from tests.core.session.test_way_back import way
from tests.fuzz.doors import WHISPER
from tests.fuzz.target import Left, Target
from tests.seeded import seeded

# Resumptions.

_SPENT = started()[0].spend()
_SALT, _ANSWER_SALT = seeded(1)(g.RESUME_SALT), seeded(2)(ANSWER_SALT)
_STEP = SpentStep(_SPENT.step, _SALT)
_SAID = (
    Resumption(1, (), WHISPER.encode()[:300]),
    Resumption(0, POINTS[:1], WHISPER.encode()),
    Resumption(2, POINTS),
)


def _opened(data: bytes) -> None:
    """What is found by its tag, and opened."""
    cell = Resume.decode_untrusted(data)
    SpentStep(_SPENT.step, cell.salt).open_untrusted(cell)


def _opened_sealed(plain_text: bytes) -> None:
    """Anything, sealed by the other side."""
    cell = Resume(AUTH, tag_of(_SPENT.step), _SALT, b"")
    text = plain_text[: g.RESUME_PLAIN].ljust(g.RESUME_PLAIN, b"\0")
    sealed = aead_seal(plain.resume_key(_SPENT.step, _SALT), _SALT, text, cell.header)
    said = _STEP.open_untrusted(replace(cell, sealed=sealed))
    if _STEP.seal(AUTH, said)[g.RESUME_HEADER :] != sealed:
        raise Left("a resumption was read that no encoder makes")


def _finished_sealed(data: bytes) -> None:
    """An answer that says anything, under the right key."""
    salt = data[:ANSWER_SALT].ljust(ANSWER_SALT, b"\0")
    size = g.RENDEZVOUS_SERVER - ANSWER_SALT
    text = data[ANSWER_SALT : ANSWER_SALT + size].ljust(size, b"\0")
    key = kdf("answer", _STEP.leg(0).reply_key, salt)
    _STEP.finish_untrusted(0, salt + aead_seal(key, bytes(g.AEAD_NONCE), text))


_PLAINS = tuple(
    bytes((said.privacy_class, len(said.rendezvous_points)))
    + b"".join(said.rendezvous_points)
    + len(said.record).to_bytes(2, "big")
    + said.record
    for said in _SAID
)


def _accepted(data: bytes) -> None:
    """What is accepted is for one circuit at most, and not accepted again. What is refused burns nothing."""
    side = started()[1]
    table = SessionTable()
    table.add(side)
    cell = Resume.decode_untrusted(data)
    try:
        accepted = table.accept_untrusted(cell)
    except ProtocolError:
        if table.find(cell.tag) is None:
            raise Left("a resumption that was refused has burned its tag") from None
        raise
    if accepted is not None and table.accept_untrusted(cell) is not None:
        raise Left("a resumption was accepted twice")


# Refreshes.

_OFFER = Offer(seeded(3))
_RESPONSE = respond_untrusted(_OFFER.public, seeded(4))[0]


def _asked() -> Side:
    """An endpoint's side that has answered one refresh already."""
    visitor, endpoint = sides(3)
    renew(visitor, endpoint)
    return endpoint


def _asking() -> tuple[Side, Side]:
    """A visitor's side that has offered one, and the other side."""
    visitor, endpoint = sides(4)
    visitor.offers()
    return visitor, endpoint


_REFRESH = sides(3)[0].offers()
_VISITOR, _ENDPOINT = _asking()
_REFRESHED = _ENDPOINT.answers(_VISITOR.offers()) or b""


def _answered(data: bytes) -> None:
    _asked().session.answer_untrusted(data, seeded(5))


def _answered_in_table(data: bytes) -> None:
    side = _asked()
    try:
        side.answers(data)
    finally:
        _as_the_table_says(side)


def _renewed(data: bytes) -> None:
    _asking()[0].session.refreshed_untrusted(data, WALL)


def _renewed_in_table(data: bytes) -> None:
    side = _asking()[0]
    try:
        side.renewed(data)
    finally:
        _as_the_table_says(side)


def _as_the_table_says(side: Side) -> None:
    for chain in side.session.accepting:
        if any(side.table.find(tag) is None for tag, _ in chain.tags()):
            raise Left("a tag that is accepted is not in the table")


# Documents.


def _read(data: bytes) -> None:
    """What is read is written as it was, and can be used."""
    session: Session = from_document_untrusted(data)
    if to_document(session) != data:
        raise Left("a document was read that no encoder makes")
    session.spend()
    for chain in session.accepting:
        for _, index in list(chain.tags())[:3]:
            chain.burn(index)
    session.mail.keep_from(0)


SESSIONS = (
    Target(
        "crypto.refresh.respond_untrusted", lambda data: respond_untrusted(data, seeded(6)), (_OFFER.public,)
    ),
    Target("crypto.refresh.Offer.finish_untrusted", _OFFER.finish_untrusted, (_RESPONSE,)),
    Target(
        "core.session.way_back.decode_ways_untrusted",
        decode_ways_untrusted,
        (encode_ways(()), encode_ways([way(1)]), encode_ways([way(1), way(2)]), RECEIVED_BODY),
    ),
    Target(
        "core.session.proof.Proof.decode_untrusted",
        Proof.decode_untrusted,
        (Proof(bytes(g.KEY), 20_000, bytes(g.MAC)).encode(),),
    ),
    Target(
        "core.session.resumption.SpentStep.open_untrusted",
        _opened,
        tuple(_STEP.seal(AUTH, said) for said in _SAID),
    ),
    Target("core.session.resumption.SpentStep.open_untrusted:sealed", _opened_sealed, _PLAINS),
    Target(
        "core.session.resumption.SpentStep.finish_untrusted",
        lambda data: _STEP.finish_untrusted(0, data),
        (_STEP.answer(0, _ANSWER_SALT)[0][g.COOKIE :],),
    ),
    Target(
        "core.session.resumption.SpentStep.finish_untrusted:sealed",
        _finished_sealed,
        (_ANSWER_SALT, bytes(g.RENDEZVOUS_SERVER)),
    ),
    Target(
        "core.session.table.SessionTable.accept_untrusted",
        _accepted,
        tuple(_STEP.seal(AUTH, said) for said in _SAID[:2]),
    ),
    Target("core.session.session.Session.answer_untrusted", _answered, (_REFRESH,)),
    Target("core.session.session.Session.refreshed_untrusted", _renewed, (_REFRESHED,)),
    Target("core.session.table.SessionTable.answer_refresh_untrusted", _answered_in_table, (_REFRESH,)),
    Target("core.session.table.SessionTable.refreshed_untrusted", _renewed_in_table, (_REFRESHED,)),
    Target(
        "core.session.document.from_document_untrusted",
        _read,
        (
            to_document(started()[0]),
            to_document(largest(introduced=True)),
            to_document(largest(introduced=False)),
            _asked().disk[-1],
        ),
    ),
)
