"""A session on disk: what is written is read, and nothing else is (SPEC 12)."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import Any

import msgpack
import pytest

from onionshh import geometry as g
from onionshh.core.session.chains import NUMBER_MOST, SKIPPED_MOST, AcceptingChain, SpendingChain, Step
from onionshh.core.session.document import (
    DOCUMENT_MOST,
    EPOCH_MOST,
    from_document_untrusted,
    to_document,
)
from onionshh.core.session.session import Chains, Coming, History, Mail, Marks, Session, SessionId
from onionshh.core.session.way_back import WAYS_MOST, WayBack
from onionshh.errors import ProtocolError
from onionshh.ids import AuthKey, RelayId
from onionshh.reasons import Reason
from tests.core.session.sides import renew, sides, started


def drawn_chain(random: Random, base: int, count: int) -> AcceptingChain:
    numbers = sorted(random.sample(range(max(0, base - 60), base), min(count, base)))
    return AcceptingChain(
        random.randbytes(32), base, {number: Step(random.randbytes(32)) for number in numbers}
    )


def drawn_chains(random: Random, base: int, count: int, epoch: int) -> Chains:
    index = random.randrange(base + 1)
    spend = SpendingChain(random.randbytes(32), index, random.randrange(index + 1))
    return Chains(epoch, random.randbytes(32), spend, drawn_chain(random, base, count))


def drawn(random: Random, *, introduced: bool, base: int, count: int, epoch: int, more: bool) -> Session:
    """Any session. `more`: with all that it need not have."""
    before = drawn_chain(random, base, count) if more and introduced else None
    coming = None
    if more and not introduced:
        chains = drawn_chains(random, base, count, epoch + 1)
        coming = Coming(random.randbytes(32), random.randbytes(g.REFRESHED_BODY), chains)
    numbers = [random.randrange(base + 1) for _ in range(6)]
    confirmed, kept, answered = (random.random() < 0.5 for _ in range(3))
    return Session(
        SessionId(random.randbytes(g.SESSION_ID)),
        introduced=introduced,
        chains=drawn_chains(random, base, count, epoch),
        mail=Mail(numbers[0], random.randbytes(32)),
        history=History(*numbers[1:]),
        marks=Marks(confirmed, kept, answered, sender=random.randbytes(32) if more else b""),
        before=before,
        coming=coming,
        way_back=tuple(
            WayBack(RelayId(random.randbytes(32)), AuthKey(random.randbytes(32)), random.getrandbits(32))
            for _ in range(WAYS_MOST if more else random.randrange(WAYS_MOST + 1))
        ),
    )


def largest(introduced: bool) -> Session:
    """With the largest numbers and all that a session may have."""
    return drawn(
        Random(1),
        introduced=introduced,
        base=NUMBER_MOST,
        count=SKIPPED_MOST,
        epoch=EPOCH_MOST - 1,
        more=True,
    )


def row_of(session: Session) -> list[Any]:
    row: list[Any] = msgpack.unpackb(to_document(session))
    return row


def refused(row: list[Any]) -> Reason:
    with pytest.raises(ProtocolError) as caught:
        from_document_untrusted(msgpack.packb(row))
    return caught.value.reason


def same(one: Session, other: Session) -> None:
    """Everything that is not of one moment only."""
    assert (one.session_id, one.introduced, one.mail) == (other.session_id, other.introduced, other.mail)
    assert (one.history, one.marks, one.way_back) == (other.history, other.marks, other.way_back)
    assert (one.chains.epoch, one.chains.secret) == (other.chains.epoch, other.chains.secret)
    assert one.chains.spend == other.chains.spend
    assert len(one.accepting) == len(other.accepting)
    for chain, copy in zip(one.accepting, other.accepting, strict=True):
        assert (chain.key, chain.base, chain.skipped) == (copy.key, copy.base, copy.skipped)
        assert list(chain.skipped) == list(copy.skipped), "lowest number first"
    if one.coming is not None:
        assert other.coming is not None
        assert (one.coming.offer, one.coming.body) == (other.coming.offer, other.coming.body)
        assert one.coming.chains.spend == other.coming.chains.spend
        assert one.coming.chains.secret == other.coming.chains.secret


@pytest.mark.parametrize("seed", range(40))
def test_any_session_is_read_as_it_was_written(seed: int) -> None:
    random = Random(seed)
    session = drawn(
        random,
        introduced=bool(seed & 1),
        base=random.choice((0, 1, 40, 10_000)),
        count=random.randrange(SKIPPED_MOST + 1),
        epoch=random.randrange(1000),
        more=bool(seed & 2),
    )
    document = to_document(session)
    copy = from_document_untrusted(document)
    same(session, copy)
    assert to_document(copy) == document


@pytest.mark.parametrize("introduced", [True, False])
def test_the_largest_session_fits(introduced: bool) -> None:
    session = largest(introduced)
    document = to_document(session)
    assert len(document) < DOCUMENT_MOST // 2
    same(session, from_document_untrusted(document))


def test_what_is_of_one_moment_is_not_kept() -> None:
    visitor, _ = sides()
    offer = visitor.offers()
    visitor.session.silent()
    while visitor.session.budgets.theirs.take(0.0):
        pass
    visitor.sync()
    visitor.restart()
    assert visitor.session.silences == 0
    assert visitor.session.budgets.theirs.take(0.0)
    assert visitor.offers() != offer


def test_a_changed_document_is_another_session_or_refused() -> None:
    """Each byte in turn, two ways. Nothing but ProtocolError comes out."""
    visitor, endpoint = sides()
    renew(visitor, endpoint)
    for side in (visitor, endpoint):
        document = side.disk[-1]
        for at in range(len(document)):
            for flip in (0x01, 0xFF):
                changed = document[:at] + bytes((document[at] ^ flip,)) + document[at + 1 :]
                try:
                    copy = from_document_untrusted(changed)
                except ProtocolError:
                    continue
                assert to_document(copy) == changed


def test_a_cut_or_lengthened_document_is_refused() -> None:
    document = to_document(started()[0])
    for at in range(len(document)):
        with pytest.raises(ProtocolError):
            from_document_untrusted(document[:at])
    for changed in (document + b"\0", document * 2, bytes(DOCUMENT_MOST + 1)):
        with pytest.raises(ProtocolError):
            from_document_untrusted(changed)


@pytest.mark.parametrize("seed", range(20))
def test_a_document_with_many_changes_raises_nothing_else(seed: int) -> None:
    random = Random(seed)
    document = to_document(largest(bool(seed & 1)))
    for _ in range(100):
        changed = bytearray(document)
        for _ in range(random.randrange(1, 8)):
            at = random.randrange(len(changed))
            changed[at : at + random.randrange(3)] = random.randbytes(random.randrange(3))
        with suppress(ProtocolError):
            from_document_untrusted(bytes(changed))


def test_a_later_version_is_told_apart() -> None:
    row = row_of(started()[0])
    row[0] = 2
    assert refused(row) is Reason.DOCUMENT_VERSION


def test_each_side_has_only_its_own_parts() -> None:
    visitor, endpoint = row_of(largest(True)), row_of(largest(False))
    assert (len(visitor[4]), len(visitor[5])) == (1, 0)
    assert (len(endpoint[4]), len(endpoint[5])) == (0, 1)
    for row in (visitor, endpoint):
        row[2] ^= 1
        assert refused(row) is Reason.DOCUMENT_SHAPE


def test_numbers_that_no_session_has_are_refused() -> None:
    def changed(spent: tuple[int, int] | None = None, skipped: list[Any] | None = None) -> list[Any]:
        row = row_of(largest(True))
        if spent is not None:
            row[3][2][1:] = spent
        if skipped is not None:
            row[3][3][1:] = [5, skipped]
        return row

    key = bytes(32)
    good = [[0, key], [4, key]]
    from_document_untrusted(msgpack.packb(changed((7, 7), good)))
    for row in (
        changed(spent=(7, 8)),
        changed(spent=(NUMBER_MOST + 1, 0)),
        changed(skipped=[[4, key], [0, key]]),
        changed(skipped=[[0, key], [0, key]]),
        changed(skipped=[[5, key]]),
        changed(skipped=[[0, key[:31]]]),
    ):
        assert refused(row) is Reason.DOCUMENT_SHAPE
