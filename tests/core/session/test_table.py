"""All sessions of one endpoint, found by tag: bounded, and no tag outlives its session (SPEC 12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from onionshh.core.session.chains import WINDOW, tag_of
from onionshh.core.session.document import from_document_untrusted, to_document
from onionshh.core.session.resumption import Resumption, SpentStep
from onionshh.core.session.session import Session
from onionshh.core.session.table import IDLE_SECONDS, SESSIONS_MOST, SessionTable
from onionshh.errors import CryptoError, ProtocolError
from onionshh.reasons import Reason
from onionshh.wire.messages import Resume
from tests.core.session.sides import AUTH, POINTS, WALL, Keys, renew, sides, started


def tags(session: Session) -> list[bytes]:
    """All that it accepts."""
    return [tag for chain in session.accepting for tag, _ in chain.tags()]


def known(table: SessionTable, wanted: Sequence[bytes]) -> int:
    return sum(table.find(tag) is not None for tag in wanted)


def endpoint_session(seed: int, *, used: int = 0, kept: bool = False, answered: bool = False) -> Session:
    _, session = started(seed)
    session.history.used_at = WALL + used
    session.marks.kept, session.marks.answered = kept, answered
    return session


def test_a_tag_leads_to_its_session_and_step() -> None:
    table = SessionTable()
    sessions = [endpoint_session(seed) for seed in range(5)]
    for session in sessions:
        assert table.add(session) is None
    assert list(table.sessions) == sessions
    assert len(table) == 5
    for session in sessions:
        assert table.get(session.session_id) is session
        for tag, index in session.chains.accept.tags():
            found = table.find(tag)
            assert found is not None
            assert (found.session, found.chain, found.index) == (session, session.chains.accept, index)
            assert tag_of(found.step) == tag
    assert table.find(bytes(16)) is None
    assert table.find(b"") is None


def test_a_burned_tag_is_gone_and_the_window_slid() -> None:
    table, session = SessionTable(), endpoint_session(1)
    table.add(session)
    first = tags(session)
    found = table.find(first[10])
    assert found is not None
    table.burn(found)
    assert table.find(first[10]) is None
    assert known(table, tags(session)) == WINDOW + 10
    skipped = table.find(first[3])
    assert skipped is not None
    table.burn(skipped)
    assert table.find(first[3]) is None


def test_a_step_is_burned_once() -> None:
    """Two that found the same step cannot both act on it."""
    table, session = SessionTable(), endpoint_session(1)
    table.add(session)
    one, two, three = (table.find(tags(session)[at]) for at in (0, 0, 1))
    assert one is not None
    assert two is not None
    assert three is not None
    table.burn(one)
    with pytest.raises(ValueError, match="used before"):
        table.burn(two)
    table.remove(session.session_id)
    with pytest.raises(ValueError, match="is gone"):
        table.burn(three)
    assert known(table, tags(session)) == 0, "no tag of a session that is gone comes back"


def test_the_tags_of_a_removed_session_are_gone_and_no_others() -> None:
    table = SessionTable()
    one, other = endpoint_session(1), endpoint_session(2)
    table.add(one)
    table.add(other)
    found = table.find(tags(one)[7])
    assert found is not None
    table.burn(found)
    gone = tags(one)
    table.remove(one.session_id)
    table.remove(one.session_id)
    assert known(table, gone) == 0
    assert known(table, tags(other)) == WINDOW
    assert table.get(one.session_id) is None


def test_a_copy_of_a_session_replaces_it() -> None:
    table, session = SessionTable(), endpoint_session(1)
    table.add(session)
    copy = from_document_untrusted(to_document(session))
    found = table.find(tags(session)[20])
    assert found is not None
    table.burn(found)
    before = tags(session)
    assert table.add(copy) is None
    assert len(table) == 1
    assert known(table, tags(copy)) == WINDOW
    assert known(table, before) == len(set(before) & set(tags(copy)))


def test_a_session_that_comes_from_disk_accepts_both_its_chains() -> None:
    visitor, endpoint = sides()
    renew(visitor, endpoint)
    for side in (visitor, endpoint):
        side.restart()
        assert len(set(tags(side.session))) == 2 * WINDOW
        assert known(side.table, tags(side.session)) == 2 * WINDOW
        gone = tags(side.session)
        side.table.remove(side.session.session_id)
        assert known(side.table, gone) == 0


# Eviction.


def test_who_must_go() -> None:
    """Neither kept nor answered goes first; among equals the one that was used longest ago."""
    table = SessionTable(6)
    order = [
        endpoint_session(1, used=3),
        endpoint_session(2, used=9),
        endpoint_session(3, used=1, kept=True),
        endpoint_session(4, used=2, answered=True),
        endpoint_session(5, used=5, kept=True, answered=True),
        endpoint_session(6, used=8, kept=True),
    ]
    for session in Random(1).sample(order, 6):
        assert table.add(session) is None
    for number, session in enumerate(order):
        gone = tags(session)
        last = endpoint_session(100 + number, used=1000 + number, kept=True)
        assert table.add(last) is session
        assert len(table) == 6
        assert known(table, gone) == 0
        assert known(table, tags(last)) == WINDOW


def test_a_new_session_stays_and_strangers_take_one_place_only() -> None:
    """A thousand strangers cannot drive out what the program kept: the stranger before is the first to go."""
    table = SessionTable(4)
    kept = [endpoint_session(seed, kept=True, used=seed) for seed in range(4)]
    for session in kept:
        table.add(session)
    strangers = [endpoint_session(10 + seed, used=-seed) for seed in range(20)]
    gone = [table.add(stranger) for stranger in strangers]
    assert gone == [kept[0], *strangers[:-1]]


def test_a_table_for_one() -> None:
    table = SessionTable(1)
    one, two = endpoint_session(1, used=5), endpoint_session(2)
    assert table.add(one) is None
    assert table.add(two) is one
    assert list(table.sessions) == [two]


def test_a_table_without_places_keeps_nothing() -> None:
    table, session = SessionTable(0), endpoint_session(1)
    assert table.add(session) is session
    assert len(table) == known(table, tags(session)) == 0


def test_one_must_go_for_others_of_the_node() -> None:
    table = SessionTable()
    kept, stranger = endpoint_session(1, kept=True), endpoint_session(2, used=9)
    table.add(kept)
    table.add(stranger)
    gone = tags(stranger)
    assert table.displace() is stranger
    assert known(table, gone) == 0
    assert table.displace() is kept
    assert table.displace() is None


def test_expiry_is_by_the_time_of_the_consensus() -> None:
    table = SessionTable()
    old, new = endpoint_session(1), endpoint_session(2, used=10)
    table.add(old)
    table.add(new)
    assert table.expired(0) == [], "no consensus has confirmed any time"
    assert table.expired(WALL + IDLE_SECONDS) == []
    assert table.expired(WALL + IDLE_SECONDS + 1) == [old]
    assert table.expired(WALL + IDLE_SECONDS + 11) == [old, new]
    assert len(table) == 2, "whoever asked removes them"


# Renewing.


def test_a_replaced_answer_leaves_no_tag() -> None:
    visitor, endpoint = sides()
    assert endpoint.answers(visitor.offers()) is not None
    first = endpoint.session.coming
    assert first is not None
    gone = [tag for tag, _ in first.chains.accept.tags()]
    assert known(endpoint.table, gone) == WINDOW
    endpoint.answers(visitor.offers())
    assert endpoint.session.coming is first, "the same offer changes nothing"
    assert known(endpoint.table, gone) == WINDOW
    visitor.restart()
    endpoint.answers(visitor.offers())
    assert known(endpoint.table, gone) == 0
    assert known(endpoint.table, tags(endpoint.session)) == 2 * WINDOW


def test_the_first_new_tag_removes_the_old_ones_on_both_sides() -> None:
    visitor, endpoint = sides()
    assert renew(visitor, endpoint)
    for spender, accepter in ((visitor, endpoint), (endpoint, visitor)):
        before = tags(accepter.session)
        assert len(before) == known(accepter.table, before) == 2 * WINDOW
        assert spender.reaches(accepter)
        left = tags(accepter.session)
        assert len(left) == known(accepter.table, left) == WINDOW
        assert known(accepter.table, before) == WINDOW - 1


def test_a_second_refresh_removes_the_chain_before_the_last() -> None:
    """The endpoint never spoke, so its first chain was still accepted."""
    visitor, endpoint = sides()
    first = tags(visitor.session)
    assert renew(visitor, endpoint)
    assert visitor.reaches(endpoint)
    assert known(visitor.table, first) == WINDOW
    assert renew(visitor, endpoint)
    assert known(visitor.table, first) == 0
    assert known(visitor.table, tags(visitor.session)) == 2 * WINDOW


def test_a_burn_of_the_old_chain_while_both_are_accepted_moves_that_one_alone() -> None:
    visitor, endpoint = sides()
    old = visitor.resume()
    answer = endpoint.answers(visitor.offers())
    assert answer is not None
    assert endpoint.take(old.message) is not None
    assert known(endpoint.table, tags(endpoint.session)) == 2 * WINDOW
    assert visitor.renewed(answer)
    assert visitor.reaches(endpoint)
    assert known(endpoint.table, tags(endpoint.session)) == WINDOW


def test_as_many_sessions_as_may_be() -> None:
    """They are loaded from their documents, found, burned and removed, and nothing is left of them."""
    documents = [to_document(endpoint_session(seed, used=seed)) for seed in range(SESSIONS_MOST)]
    table = SessionTable()
    for document in documents:
        assert table.add(from_document_untrusted(document)) is None
    random = Random(1)
    for session in random.sample(list(table.sessions), 100):
        found = table.find(random.choice(tags(session)))
        assert found is not None
        assert found.session is session
        table.burn(found)
    everything = [tag for session in table.sessions for tag in tags(session)]
    assert known(table, everything[::97]) == len(everything[::97])
    oldest = next(iter(table.sessions))
    assert table.add(endpoint_session(9999, used=9999)) is oldest
    for session in list(table.sessions):
        table.remove(session.session_id)
    assert len(table) == known(table, everything) == 0


def test_two_sessions_in_one_table_do_not_mix() -> None:
    keys = Keys()
    pairs = [sides(seed, keys) for seed in (10, 20)]
    shared = SessionTable()
    for _, endpoint in pairs:
        shared.add(endpoint.session)
        endpoint.table = shared
    for visitor, endpoint in pairs:
        sent = visitor.resume()
        found = shared.find(Resume.decode_untrusted(sent.message).tag)
        assert found is not None
        assert found.session is endpoint.session
        assert renew(visitor, endpoint)
        assert visitor.reaches(endpoint)


def test_a_resumption_is_accepted_once_and_what_is_refused_burns_nothing() -> None:
    visitor, endpoint = started(7)
    table = SessionTable()
    table.add(endpoint)
    step = SpentStep(visitor.spend().step, bytes(12))
    good = Resume.decode_untrusted(step.seal(AUTH, Resumption(1, POINTS[:1], b"")))
    with pytest.raises(CryptoError):
        table.accept_untrusted(replace(good, sealed=bytes(len(good.sealed))))
    three = Resume.decode_untrusted(step.seal(AUTH, Resumption(1, POINTS, b"")))
    with pytest.raises(ProtocolError, match=Reason.RESUME_LEGS):
        table.accept_untrusted(three)
    accepted = table.accept_untrusted(good)
    assert accepted is not None
    assert accepted.session is endpoint
    assert accepted.resumption.rendezvous_points == POINTS[:1]
    assert accepted.step.leg(0) == step.leg(0)
    assert table.accept_untrusted(good) is None
    assert table.accept_untrusted(replace(good, tag=bytes(16))) is None
