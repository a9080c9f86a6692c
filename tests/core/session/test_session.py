"""One side of a session: what may be spent, and how the chains are renewed whoever crashes when (SPEC 12)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from onionshh import geometry as g
from onionshh.core.session.chains import WINDOW
from onionshh.core.session.document import to_document
from onionshh.core.session.session import (
    ASKING_MOST,
    LEGS_BURST,
    MAIL_AHEAD_MOST,
    MAIL_PERIODS,
    REFRESH_SECONDS,
    REFRESH_TAGS,
    UNANSWERED_MOST,
    Mail,
    Session,
)
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason
from tests.core.session import plain
from tests.core.session.sides import PERIOD, WALL, Sent, Side, renew, sides, started
from tests.crypto.test_known import h, known
from tests.crypto.test_primitives import SMALL_ORDER
from tests.seeded import seeded

# The start.


def test_a_session_is_the_known_one_on_both_sides() -> None:
    kept = known("session.json")
    root = h(kept["root"])
    keys = plain.kdf("session", root, size=128)
    V, E, rs, mail = (keys[at : at + 32] for at in range(0, 128, 32))
    assert [V, E, rs, mail] == [h(kept[name]) for name in ("V", "E", "rs", "mail")]
    assert plain.kdf("session id", root)[:16] == h(kept["id"])
    for introduced in (True, False):
        one = Session.started(root, introduced=introduced, period=PERIOD, wall=WALL)
        spends, accepts = (V, E) if introduced else (E, V)
        assert (one.chains.spend.key, one.chains.accept.key) == (spends, accepts)
        assert (one.session_id, one.chains.secret, one.mail.key) == (h(kept["id"]), rs, mail)
        assert (one.chains.epoch, one.mail.period) == (0, PERIOD)
        for period, later in enumerate(kept["later_mail"], PERIOD + MAIL_PERIODS + 1):
            mail_before = one.mail.key
            one.mail.keep_from(period)
            assert one.mail.key == h(later) == plain.kdf("mail", mail_before)


def test_mail_keys_of_eight_periods_are_kept_and_older_ones_are_erased() -> None:
    mail = Mail(PERIOD, bytes(32))
    mail.keep_from(PERIOD + MAIL_PERIODS)
    assert mail == Mail(PERIOD, bytes(32))
    mail.keep_from(PERIOD - 100)
    assert mail.period == PERIOD, "a period of before gives nothing back"
    mail.keep_from(PERIOD + MAIL_PERIODS + 3)
    assert mail.period == PERIOD + 3


def test_the_mail_key_of_a_later_period_follows_and_an_earlier_one_is_erased() -> None:
    mail = Mail(PERIOD, b"m" * 32)
    expected = b"m" * 32
    for ahead in range(MAIL_AHEAD_MOST + 1):
        assert mail.key_of(PERIOD + ahead) == expected
        expected = plain.kdf("mail", expected)
    assert mail == Mail(PERIOD, b"m" * 32), "nothing is erased by asking"
    assert mail.key_of(PERIOD + MAIL_AHEAD_MOST + 1) is None
    assert mail.key_of(PERIOD - 1) is None
    later = mail.key_of(PERIOD + 5)
    mail.keep_from(PERIOD + MAIL_PERIODS + 3)
    assert mail.key_of(PERIOD + 5) == later
    assert mail.key_of(PERIOD + 2) is None


# Spending.


def test_nothing_is_spent_before_the_other_side_has_it_on_its_disk() -> None:
    visitor, _ = started(confirmed=False)
    assert not visitor.may_spend
    visitor.marks.confirmed = True
    assert visitor.may_spend


def test_a_step_of_the_other_side_shows_that_it_has_the_session() -> None:
    visitor, endpoint = sides()
    endpoint.session.marks.confirmed = False
    assert visitor.reaches(endpoint)
    assert endpoint.session.marks.confirmed


def test_sixteen_steps_may_be_out_and_the_last_asks_for_an_answer() -> None:
    visitor, endpoint = sides()
    sent: list[Sent] = []
    for number in range(UNANSWERED_MOST):
        assert visitor.session.may_spend
        assert visitor.session.last_without_answer == (number == UNANSWERED_MOST - 1)
        sent.append(visitor.resume(int(visitor.session.last_without_answer)))
    assert [visitor.session.may_spend, visitor.session.chains.spend.unanswered] == [False, 16]
    taken = endpoint.take(sent[-1].message)
    assert taken is not None
    assert taken.answer is not None
    visitor.answered(sent[-1], taken.answer)
    assert [visitor.session.may_spend, visitor.session.chains.spend.unanswered] == [True, 0]
    assert all(endpoint.take(one.message) is not None for one in sent[:-1]), "they come late, and count"


def test_an_endpoint_goes_on_with_steps_that_ask_when_the_sixteenth_is_lost() -> None:
    visitor, endpoint = sides()
    sent: list[Sent] = []
    for number in range(ASKING_MOST):
        assert endpoint.session.may_spend
        assert endpoint.session.last_without_answer == (number >= UNANSWERED_MOST - 1)
        sent.append(endpoint.resume(int(endpoint.session.last_without_answer)))
    assert [endpoint.session.may_spend, endpoint.session.chains.spend.unanswered] == [False, WINDOW - 1]
    taken = visitor.take(sent[-1].message)
    assert taken is not None, "the visitor's window holds them all"
    assert taken.answer is not None
    endpoint.answered(sent[-1], taken.answer)
    assert [endpoint.session.may_spend, endpoint.session.chains.spend.unanswered] == [True, 0]


def test_what_may_be_out_is_always_in_the_window() -> None:
    visitor, endpoint = sides()
    assert UNANSWERED_MOST <= WINDOW // 2
    for _ in range(20):
        for _ in range(UNANSWERED_MOST - 1):
            visitor.resume()  # lost
        assert visitor.reaches(endpoint)


def test_an_answer_settles_what_is_before_it_and_not_what_is_after() -> None:
    visitor, _ = started()
    spent = [visitor.spend() for _ in range(5)]
    visitor.answered(spent[2])
    assert visitor.chains.spend.unanswered == 2
    visitor.answered(spent[0])
    assert visitor.chains.spend.unanswered == 2


def test_two_silences_in_a_row_end_it_and_an_answer_counts_anew() -> None:
    visitor, _ = started()
    spent = visitor.spend()
    visitor.silent()
    assert visitor.may_spend
    visitor.answered(spent)
    visitor.silent()
    assert visitor.may_spend
    visitor.silent()
    assert not visitor.may_spend


def test_a_budget_of_circuits_for_each_session_and_side() -> None:
    _, endpoint = started()
    for bucket in (endpoint.budgets.ours, endpoint.budgets.theirs):
        assert [bucket.take(0.0) for _ in range(LEGS_BURST + 1)] == [True] * LEGS_BURST + [False]
        assert not bucket.take(4.9)
        assert bucket.take(5.0)


# Renewing.


def test_a_refresh_is_the_known_one() -> None:
    kept = known("session.json")
    private, refreshed = h(kept["private"]), [h(part) for part in kept["refreshed"]]
    visitor = Session.started(h(kept["root"]), introduced=True, period=PERIOD, wall=WALL)
    draws = [private[:32], private[32:]]
    assert visitor.offer(lambda _: draws.pop(0)) == h(kept["refresh"])
    assert visitor.refreshed_untrusted(refreshed[0], WALL)
    V, E, rs = plain.renewed(h(kept["rs"]), 1, private, h(kept["refresh"]), refreshed[0])
    assert [V, E, rs] == refreshed[1:]
    chains = visitor.chains
    assert (chains.epoch, chains.spend.key, chains.accept.key, chains.secret) == (1, V, E, rs)
    assert (chains.spend.index, chains.accept.base) == (0, 0)


def test_after_64_tags_of_either_chain_or_a_day() -> None:
    for introduced, ours in product((True, False), (True, False)):
        visitor, endpoint = started()
        one = visitor if introduced else endpoint
        assert not one.refresh_due(WALL)
        for number in range(REFRESH_TAGS):
            assert not one.refresh_due(WALL), number
            if ours:
                one.spend()
            else:
                one.chains.accept.burn(number)
        assert one.refresh_due(WALL) == introduced, "it is for the side that introduced"
    visitor, endpoint = started()
    assert not visitor.refresh_due(WALL + REFRESH_SECONDS - 1)
    assert visitor.refresh_due(WALL + REFRESH_SECONDS)
    assert not endpoint.refresh_due(WALL + REFRESH_SECONDS)


def test_a_refresh_begins_the_count_anew() -> None:
    visitor, endpoint = sides()
    for _ in range(REFRESH_TAGS):
        assert visitor.reaches(endpoint)
    later = WALL + 1000
    assert visitor.session.refresh_due(later)
    refreshed = endpoint.answers(visitor.offers())
    assert refreshed is not None
    assert visitor.session.refreshed_untrusted(refreshed, later)
    assert not visitor.session.refresh_due(later + REFRESH_SECONDS - 1)
    assert visitor.session.refresh_due(later + REFRESH_SECONDS)


def test_the_id_and_the_mail_stay_and_all_else_is_new() -> None:
    visitor, endpoint = sides()
    before = (visitor.session.session_id, visitor.session.mail)
    old = visitor.session.chains
    assert renew(visitor, endpoint)
    assert visitor.reaches(endpoint)
    assert endpoint.reaches(visitor)
    for side in (visitor, endpoint):
        assert (side.session.session_id, side.session.mail) == before
        chains = side.session.chains
        assert chains.epoch == 1
        assert not {chains.secret, chains.spend.key, chains.accept.key} & {
            old.secret,
            old.spend.key,
            old.accept.key,
        }
    assert visitor.session.chains.secret == endpoint.session.chains.secret


def test_the_same_refresh_gets_the_same_answer_and_another_one_replaces_it() -> None:
    visitor, endpoint = sides()
    first = visitor.offers()
    assert visitor.offers() == first, "the same until it is answered"
    answer = endpoint.answers(first)
    assert answer is not None
    assert endpoint.answers(first) == answer
    endpoint.sync()
    endpoint.restart()
    assert endpoint.answers(first) == answer, "also after a restart"
    visitor.restart()
    second = visitor.offers()
    assert second != first
    other = endpoint.answers(second)
    assert other is not None
    assert other[4:] != answer[4:]
    endpoint.sync()
    assert visitor.renewed(other)
    assert visitor.reaches(endpoint)
    assert endpoint.session.chains.epoch == 1


def test_an_answer_for_another_offer_is_a_session_that_nobody_knows_and_heals_by_a_new_introduction() -> None:
    """No lane brings one that its own process did not ask for. If one does, two silences end the session."""
    visitor, endpoint = sides()
    answer = endpoint.answers(visitor.offers())
    endpoint.sync()
    visitor.restart()
    visitor.offers()
    assert answer is not None
    assert visitor.renewed(answer)
    assert not visitor.reaches(endpoint)
    assert not visitor.reaches(endpoint)
    assert not visitor.session.may_spend


def test_the_old_e_is_accepted_until_the_first_new_one() -> None:
    visitor, endpoint = sides()
    old = [endpoint.resume() for _ in range(3)]
    assert renew(visitor, endpoint)
    assert visitor.take(old[0].message) is not None
    assert visitor.take(old[0].message) is None
    late_old = endpoint.resume()
    assert late_old.spent.epoch == 0, "it spends the old E until the first new V"
    assert visitor.reaches(endpoint)
    new = endpoint.resume()
    assert new.spent.epoch == 1
    assert visitor.take(late_old.message) is not None
    assert visitor.take(new.message) is not None
    assert visitor.take(old[1].message) is None
    assert visitor.session.before is None


def test_both_v_are_accepted_until_the_first_new_one() -> None:
    visitor, endpoint = sides()
    old = [visitor.resume() for _ in range(3)]
    answer = endpoint.answers(visitor.offers())
    endpoint.sync()
    assert answer is not None
    assert endpoint.take(old[0].message) is not None
    assert endpoint.session.chains.epoch == 0
    assert visitor.renewed(answer)
    assert visitor.reaches(endpoint)
    assert endpoint.session.chains.epoch == 1
    assert endpoint.take(old[1].message) is None


def test_an_answer_to_an_old_step_settles_nothing_of_the_new_chain() -> None:
    visitor, endpoint = sides()
    old = [visitor.resume(1) for _ in range(3)]
    taken = endpoint.take(old[2].message)
    assert renew(visitor, endpoint)
    for _ in range(4):
        visitor.resume()
    visitor.session.silent()
    assert taken is not None
    assert taken.answer is not None
    visitor.answered(old[2], taken.answer)
    assert visitor.session.chains.spend.unanswered == 4
    assert visitor.session.silences == 0


def test_many_refreshes_in_a_row() -> None:
    visitor, endpoint = sides()
    for epoch in range(1, 6):
        assert renew(visitor, endpoint)
        assert visitor.session.chains.epoch == epoch
        assert visitor.reaches(endpoint)
        assert endpoint.session.chains.epoch == epoch


def test_a_refresh_for_the_epoch_after_the_next_waits_for_the_first_new_v() -> None:
    visitor, endpoint = sides()
    assert renew(visitor, endpoint)
    assert endpoint.answers(visitor.offers()) is None
    assert visitor.reaches(endpoint)
    assert endpoint.answers(visitor.offers()) is not None


def test_a_wrong_epoch_changes_nothing() -> None:
    visitor, endpoint = sides()
    offer = visitor.offers()
    before = to_document(endpoint.session)
    for epoch in (0, 2, 3, 2**32 - 1):
        assert endpoint.answers(epoch.to_bytes(4, "big") + offer[4:]) is None
    assert to_document(endpoint.session) == before
    answer = endpoint.answers(offer)
    assert answer is not None
    before = to_document(visitor.session)
    for epoch in (0, 2, 2**32 - 1):
        assert not visitor.renewed(epoch.to_bytes(4, "big") + answer[4:])
    assert to_document(visitor.session) == before
    assert visitor.renewed(answer)
    assert not visitor.renewed(answer), "the same answer twice"


def test_an_answer_to_nothing_changes_nothing() -> None:
    visitor, endpoint = sides()
    other, _ = sides()
    answer = endpoint.answers(other.offers())
    assert answer is not None
    assert not visitor.renewed(answer)


def test_the_wrong_side_and_wrong_sizes_are_refused() -> None:
    visitor, endpoint = sides()
    offer = visitor.offers()
    answer = endpoint.answers(offer)
    assert answer is not None
    assert (len(offer), len(answer)) == (g.REFRESH_BODY, g.REFRESHED_BODY)
    doors: list[Callable[[], object]] = [
        lambda: visitor.answers(offer),
        lambda: endpoint.renewed(answer),
        lambda: endpoint.answers(offer[:-1]),
        lambda: endpoint.answers(offer + b"\0"),
        lambda: endpoint.answers(b""),
        lambda: visitor.renewed(answer[:-1]),
        lambda: visitor.renewed(answer + b"\0"),
        lambda: visitor.renewed(b""),
    ]
    for door in doors:
        with pytest.raises(ProtocolError) as caught:
            door()
        assert caught.value.reason is Reason.REFRESH_SHAPE


def test_keys_that_no_side_makes_are_refused_and_change_nothing() -> None:
    visitor, endpoint = sides()
    offer = visitor.offers()
    before = to_document(endpoint.session)
    for wrong in (offer[:4] + SMALL_ORDER[0] + offer[36:], offer[:36] + b"\xff" * g.KEM_KEY):
        with pytest.raises(ProtocolError):
            endpoint.answers(wrong)
    assert to_document(endpoint.session) == before
    answer = endpoint.answers(offer)
    assert answer is not None
    with pytest.raises(ProtocolError):
        visitor.renewed(answer[:4] + SMALL_ORDER[0] + answer[36:])
    assert visitor.renewed(answer), "the offer stands"


def test_nothing_of_the_old_secrets_is_left_on_disk() -> None:
    """Who steals the disk afterwards has only the chain that the other side may still spend."""
    visitor, endpoint = sides()
    old = visitor.session.chains
    secrets, old_e = (old.secret, old.spend.key), old.accept.key
    assert renew(visitor, endpoint)
    assert not any(secret in visitor.disk[-1] for secret in secrets)
    assert old_e in visitor.disk[-1]
    assert all(secret in endpoint.disk[-1] for secret in secrets), "another offer may come"
    assert visitor.reaches(endpoint)
    assert not any(secret in endpoint.disk[-1] for secret in (*secrets, old_e))
    assert endpoint.reaches(visitor)
    assert old_e not in visitor.disk[-1]


def test_no_secret_shows_in_a_repr() -> None:
    visitor, endpoint = sides()
    renew(visitor, endpoint)
    said = ""
    hidden: list[bytes] = []
    for side in (visitor, endpoint):
        one = side.session
        spent = one.spend()
        said += repr((one, one.chains, one.mail, one.history, one.marks, one.before, one.coming, spent))
        said += repr((one.accepting, side.table.find(bytes(16)), one.chains.spend))
        hidden += [one.chains.secret, one.chains.spend.key, one.chains.accept.key, one.mail.key, spent.step]
        if one.coming is not None:
            hidden += [one.coming.chains.secret, one.coming.body]
    assert len(hidden) == 12
    for secret in hidden:
        assert repr(secret)[2:-1] not in said
        assert secret.hex() not in said


# Crashes.


class Refreshing:
    """A refresh, step by step, with all that follows until the old chains are forgotten."""

    def __init__(self) -> None:
        self.visitor, self.endpoint = sides()
        self._refresh = b""
        self._refreshed: bytes | None = None
        self._resume: Sent | None = None
        self.steps: tuple[tuple[Side, Callable[[], object]], ...] = (
            (self.visitor, self._offer),
            (self.endpoint, self._answer),
            (self.endpoint, self.endpoint.sync),
            (self.visitor, self._take_answer),
            (self.visitor, self.visitor.sync),
            (self.visitor, lambda: self._spend(self.visitor)),
            (self.endpoint, lambda: self._take(self.endpoint)),
            (self.endpoint, lambda: self._spend(self.endpoint)),
            (self.visitor, lambda: self._take(self.visitor)),
        )

    def _offer(self) -> None:
        self._refresh = self.visitor.offers()

    def _answer(self) -> None:
        self._refreshed = self.endpoint.answers(self._refresh)

    def _take_answer(self) -> None:
        assert self._refreshed is not None
        self.visitor.renewed(self._refreshed)

    def _spend(self, side: Side) -> None:
        self._resume = side.resume()

    def _take(self, side: Side) -> None:
        assert self._resume is not None
        assert side.take(self._resume.message) is not None

    def talk(self) -> None:
        """Both reach each other, at once."""
        assert self.visitor.reaches(self.endpoint)
        assert self.endpoint.reaches(self.visitor)
        assert self.visitor.reaches(self.endpoint)


STEPS = len(Refreshing().steps)


@pytest.mark.parametrize("who", ["visitor", "endpoint", "both"])
@pytest.mark.parametrize("point", range(STEPS + 1))
@pytest.mark.parametrize("on_its_way", [False, True], ids=["lost", "arrives"])
def test_either_side_may_crash_at_any_point_and_they_talk_on(point: int, who: str, on_its_way: bool) -> None:
    """`arrives`: what the side that crashed had sent still comes to the other one."""
    world = Refreshing()
    for _, step in world.steps[:point]:
        step()
    crashed = {"visitor": [world.visitor], "endpoint": [world.endpoint]}.get(
        who, [world.visitor, world.endpoint]
    )
    for side in crashed:
        side.restart()
    while on_its_way and point < STEPS and world.steps[point][0] not in crashed:
        world.steps[point][1]()
        point += 1
    epoch = world.visitor.session.chains.epoch
    world.talk()
    assert world.endpoint.session.chains.epoch == world.visitor.session.chains.epoch == epoch
    assert renew(world.visitor, world.endpoint)
    world.talk()
    assert world.endpoint.session.chains.epoch == world.visitor.session.chains.epoch == epoch + 1
    assert world.visitor.session.before is None
    assert world.endpoint.session.coming is None


@pytest.mark.parametrize("point", range(STEPS + 1))
def test_a_refresh_that_is_cut_off_at_any_point_can_go_on_with_the_same_offer(point: int) -> None:
    """The circuit ends, both processes live on, and everything is said once more."""
    world = Refreshing()
    for _, step in world.steps[:point]:
        step()
    renew(world.visitor, world.endpoint)
    world.talk()
    assert renew(world.visitor, world.endpoint)
    world.talk()


def test_the_seed_governs_a_refresh_of_the_asking_side() -> None:
    one, two = started()[0], started()[0]
    assert one.offer(seeded(7)) == two.offer(seeded(7))
