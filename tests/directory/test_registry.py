"""The registry's rules, each by name: who is heard, who is checked and when, who is listed and why not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from onionshh.core.base.params import Params
from onionshh.directory import asking, places
from onionshh.directory import registry as module
from onionshh.directory.registry import FORGET_SECONDS, POSTS_PER_INTERVAL, Registry, RoundResult, Verdict
from onionshh.directory.rules import DESCRIPTOR_LIFE_SECONDS
from onionshh.wire.descriptor import Address, RelayDescriptor
from tests.directory.world import WALL, descriptor, signer

HOUR = 3600


def params(**overrides: int) -> Params:
    return Params().with_overrides(overrides)


def submit(
    registry: Registry, number: int, *, wall: int = WALL, source: str | None = None, **changes: Any
) -> str:
    """Relay `number` sends its descriptor, from its own address unless told otherwise; the verdict."""
    word = descriptor(number, **changes)
    return registry.submit(word, source or word.host, wall).verdict.value


def answer(registry: Registry, word: RelayDescriptor, wall: int = WALL) -> None:
    registry.checked(word, None, wall)


def check_newcomers(
    registry: Registry, wall: int = WALL, dead: tuple[int, ...] = ()
) -> list[RelayDescriptor]:
    fresh = list(registry.take_fresh())
    for word in fresh:
        registry.checked(word, "refused" if is_one_of(word, dead) else None, wall)
    return fresh


def ask_elsewhere(
    registry: Registry, wall: int = WALL, dead: tuple[int, ...] = ()
) -> dict[str, tuple[Address, ...]]:
    """What comes after a round: who was asked where."""
    asked = registry.elsewhere(wall)
    for word in asked:
        missed = dict.fromkeys(word.addresses if is_one_of(word, dead) else ())
        registry.checked_elsewhere(word, {address: asking.not_there(address) for address in missed}, wall)
    return {word.nickname: word.addresses for word in asked}


def is_one_of(word: RelayDescriptor, numbers: tuple[int, ...]) -> bool:
    return any(word.nickname == f"relay{number}" for number in numbers)


def run_round(registry: Registry, wall: int, dead: tuple[int, ...] = ()) -> RoundResult:
    for word in registry.start_round(WALL):
        registry.checked(word, "refused" if is_one_of(word, dead) else None, wall)
    return registry.end_round(wall)


def listed(registry: Registry) -> list[str]:
    return sorted(one.descriptor.nickname for one in registry.listed())


def with_relays(count: int, **overrides: int) -> Registry:
    registry = Registry(params(**overrides))
    for number in range(count):
        assert submit(registry, number) == "accepted"
    check_newcomers(registry)
    return registry


def test_a_relay_is_listed_only_after_it_answered() -> None:
    registry = Registry(params())
    assert submit(registry, 1) == "accepted"
    assert listed(registry) == []
    assert registry.status(descriptor(1).identity, WALL).word == "checking"
    (word,) = registry.take_fresh()
    assert registry.take_fresh() == ()
    answer(registry, word)
    assert listed(registry) == ["relay1"]
    assert registry.status(descriptor(1).identity, WALL).word == "reached"


def test_a_relay_that_does_not_answer_is_told_why() -> None:
    registry = Registry(params())
    submit(registry, 1)
    (word,) = registry.take_fresh()
    registry.checked(word, "connection refused\n\x1b[2J" + "x" * 1000, WALL)
    assert listed(registry) == []
    status = registry.status(word.identity, WALL)
    assert status.word == "failing"
    assert status.why.startswith("connection refused[2Jxx")
    assert status.why.isprintable()
    assert len(status.why) < 300
    assert [entry.newest.nickname for entry in registry.besides(())] == ["relay1"]


def test_an_unknown_relay() -> None:
    word, why = Registry(params()).status(b"?" * 32, WALL)
    assert word == "unknown"
    assert "check the id, and that the relay runs with the network file of this directory" in why


# Addresses.


def test_only_from_the_address_it_advertises() -> None:
    registry = Registry(params())
    answered = registry.submit(descriptor(1), "9.9.9.9", WALL)
    assert answered.verdict is Verdict.FORBIDDEN
    assert "9.9.9.9" in answered.why
    assert "8.0.1.1" in answered.why
    assert submit(registry, 1, source="::ffff:8.0.1.1") == "accepted"
    assert submit(Registry(params(advertised_ip_rule=0)), 1, source="9.9.9.9") == "accepted"


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "127.0.0.1", "192.168.1.1", "169.254.1.1", "::1", "fd00::1", "fe80::1"]
)
def test_no_private_address_off_a_one_machine_network(host: str) -> None:
    assert submit(Registry(params()), 1, host=host) == "forbidden"
    assert submit(Registry(params(private_address_rule=0)), 1, host=host) == "accepted"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "224.0.0.1", "ff02::1"])
def test_never_an_address_that_is_nobodys(host: str) -> None:
    assert submit(Registry(params(private_address_rule=0)), 1, host=host) == "forbidden"


def test_at_most_two_relays_an_address() -> None:
    registry = Registry(params())
    for number in (1, 2):
        assert submit(registry, number, host="8.8.8.8", port=9000 + number) == "accepted"
    assert submit(registry, 3, host="8.8.8.8", port=9003) == "forbidden"
    assert submit(registry, 1, host="8.8.8.8", port=9009, published=WALL + 1) == "accepted"
    assert submit(registry, 3, host="8.8.8.9") == "accepted"
    assert submit(registry, 3, host="8.8.8.8", published=WALL + 1) == "forbidden"


def test_a_relay_that_moves_away_frees_its_place() -> None:
    registry = Registry(params())
    for number in (1, 2):
        submit(registry, number, host="8.8.8.8", port=9000 + number)
    check_newcomers(registry)
    assert submit(registry, 1, host="8.8.8.9", published=WALL + 1) == "accepted"
    assert submit(registry, 3, host="8.8.8.8", port=9003) == "accepted"
    assert submit(registry, 4, host="8.8.8.8", port=9004) == "forbidden"


def test_an_ipv6_network_of_64_bits_counts_as_one_address() -> None:
    registry = Registry(params())
    assert submit(registry, 1, host="2600::1") == "accepted"
    assert submit(registry, 2, host="2600::2") == "accepted"
    assert submit(registry, 3, host="2600::3") == "forbidden"
    assert submit(registry, 3, host="2600:0:0:1::3") == "accepted"


def test_a_relay_that_fails_gives_up_its_place_at_an_address() -> None:
    registry = Registry(params())
    for number in (1, 2):
        submit(registry, number, host="8.8.8.8", port=9000 + number)
    check_newcomers(registry, dead=(1,))
    assert submit(registry, 3, host="8.8.8.8", port=9003) == "accepted"
    assert submit(registry, 4, host="8.8.8.8", port=9004) == "forbidden"


def test_no_limit_of_relays_on_a_one_machine_network() -> None:
    registry = Registry(params(relays_per_ip=0))
    assert {submit(registry, n, host="8.8.8.8", port=9000 + n) for n in range(50)} == {"accepted"}


# Dates.


def test_published_must_rise() -> None:
    registry = with_relays(1)
    assert submit(registry, 0, onion_key=b"n" * 32, published=WALL - 1) == "stale"
    assert submit(registry, 0, onion_key=b"n" * 32, published=WALL) == "stale"
    assert submit(registry, 0, onion_key=b"n" * 32, published=WALL + 1) == "accepted"


def test_the_same_descriptor_again_is_no_error() -> None:
    registry = with_relays(1)
    assert submit(registry, 0) == "accepted"
    assert registry.take_fresh() == ()
    assert listed(registry) == ["relay0"]


def test_a_clock_that_is_wrong_is_named() -> None:
    registry = Registry(params())
    assert submit(registry, 1, published=WALL + 600) == "accepted"
    ahead = registry.submit(descriptor(2, published=WALL + 601), "8.0.2.1", WALL)
    assert ahead.verdict is Verdict.FORBIDDEN
    assert "601 seconds ahead" in ahead.why
    assert submit(registry, 3, published=WALL - 24 * HOUR) == "accepted"
    assert submit(registry, 4, published=WALL - 24 * HOUR - 1) == "forbidden"


def test_a_refusal_for_a_clock_tells_both_times() -> None:
    for published in (WALL + 601, WALL + 2**62, WALL - 24 * HOUR - 1, 0):
        answer = Registry(params()).submit(descriptor(1, published=published), "8.0.1.1", WALL)
        assert answer.clocks
        assert "here it is 2023-11-14 01:00:00 UTC" in answer.why
        assert ("ahead of" if published > WALL else "behind") in answer.why


def test_a_date_of_the_future_counts_for_nothing_and_is_brought_back() -> None:
    ahead = WALL + 365 * 24 * HOUR
    registry = Registry(params(), most_known=3)
    for number in (0, 1):
        assert submit(registry, number, wall=ahead, published=ahead) == "accepted"
    check_newcomers(registry, wall=ahead, dead=(1,))
    assert registry.first_of_the_future(ahead) == 0
    assert registry.first_of_the_future(WALL) == ahead
    assert submit(registry, 0, published=WALL) == "accepted"
    run_round(registry, WALL, dead=(1,))
    assert submit(registry, 2) == "accepted"
    assert submit(registry, 3) == "accepted", "the failing one of the future gives way"
    assert registry.status(descriptor(1).identity, WALL).word == "unknown"
    check_newcomers(registry)
    run_round(registry, WALL + 5)
    assert [one.descriptor.published for one in registry.listed()] == [WALL] * 3
    registry.bring_back(WALL + 10)
    assert registry.first_of_the_future(WALL + 10) == 0
    assert max(one.first_seen for one in registry.listed()) == WALL + 10


def test_nothing_is_forgotten_for_its_age_while_the_clock_is_not_sure() -> None:
    registry, year = with_relays(4), 365 * 24 * HOUR
    for _ in range(2):
        run_round(registry, WALL, dead=(0,))
    registry.sure = False
    run_round(registry, WALL + year, dead=(0,))
    run_round(registry, WALL + year)
    assert {one.first_seen for one in registry.listed()} == {WALL}
    assert len(registry) == 4


def test_a_clock_that_is_behind_for_a_while_takes_no_date_back() -> None:
    registry = with_relays(2)
    run_round(registry, WALL)
    before = [(e.heard, e.first_seen, e.last_good) for e in registry.entries()]
    run_round(registry, 100)
    submit(registry, 0, wall=100)
    assert [(e.heard, e.first_seen, e.last_good) for e in registry.entries()] == before


def test_a_protocol_nobody_speaks() -> None:
    assert submit(Registry(params()), 1, versions=(2,)) == "forbidden"
    assert submit(Registry(params()), 1, versions=(1, 2)) == "accepted"


# Checks.


def test_an_address_is_checked_once_an_interval_whatever_is_sent_in() -> None:
    registry = Registry(params())
    submit(registry, 1)
    assert len(check_newcomers(registry, dead=(1,))) == 1
    for later in range(1, 20):
        assert submit(registry, 1, published=WALL + later) == "accepted"
    assert submit(registry, 2, host="8.0.1.1") == "accepted"
    assert registry.take_fresh() == ()
    assert run_round(registry, WALL).checked == 0  # checked in this interval already
    assert submit(registry, 1, published=WALL + 30) == "accepted"
    assert len(check_newcomers(registry)) == 1  # a new interval


def test_a_round_checks_everyone_once() -> None:
    registry = with_relays(3)
    run_round(registry, WALL)
    words = registry.start_round(WALL)
    assert sorted(word.nickname for word in words) == ["relay0", "relay1", "relay2"]
    assert registry.start_round(WALL) == ()
    registry.end_round(WALL)


def test_two_relays_that_claim_one_address_get_one_check_and_the_listed_one_is_asked() -> None:
    registry = with_relays(1, relays_per_ip=3)
    submit(registry, 1, host="8.0.0.1")
    submit(registry, 2, host="8.0.0.1", wall=WALL + 1)
    assert registry.take_fresh() == ()
    run_round(registry, WALL)
    (asked,) = registry.start_round(WALL)
    assert asked.nickname == "relay0"
    answer(registry, asked)
    registry.end_round(WALL)
    run_round(registry, WALL, dead=(0,))
    run_round(registry, WALL, dead=(0,))
    assert listed(registry) == ["relay0"]  # one of one failed: held
    for _ in range(Params().held_rounds):
        assert listed(registry) == ["relay0"]
        run_round(registry, WALL, dead=(0,))
    assert listed(registry) == []
    assert [word.nickname for word in registry.start_round(WALL)] == ["relay2"]


def test_an_address_under_check_is_not_asked_a_second_time() -> None:
    registry = Registry(params())
    submit(registry, 1)
    (word,) = registry.take_fresh()
    assert registry.start_round(WALL) == ()
    assert registry.end_round(WALL).checked == 0
    assert registry.start_round(WALL) == ()
    registry.end_round(WALL)
    answer(registry, word)
    assert [each.nickname for each in registry.start_round(WALL)] == ["relay1"]


def test_a_relay_leaves_after_two_failed_checks_in_a_row() -> None:
    registry = with_relays(5)
    run_round(registry, WALL)
    run_round(registry, WALL, dead=(1,))
    assert len(listed(registry)) == 5
    run_round(registry, WALL)
    run_round(registry, WALL, dead=(1,))
    assert len(listed(registry)) == 5  # one good check between them
    run_round(registry, WALL, dead=(1,))
    assert listed(registry) == ["relay0", "relay2", "relay3", "relay4"]
    assert registry.status(descriptor(1).identity, WALL).word == "failing"
    run_round(registry, WALL)
    assert len(listed(registry)) == 5


def test_when_more_than_half_fail_the_list_stays_but_not_for_ever() -> None:
    registry = with_relays(5, held_rounds=3)
    run_round(registry, WALL)
    for _ in range(3):
        assert run_round(registry, WALL, dead=(0, 1, 2)).held
        assert len(listed(registry)) == 5
    assert not run_round(registry, WALL, dead=(0, 1, 2)).held
    assert len(listed(registry)) == 5  # the first failure that counts
    assert not run_round(registry, WALL, dead=(0, 1, 2)).held
    assert listed(registry) == ["relay3", "relay4"]


def test_a_good_round_starts_the_patience_anew() -> None:
    registry = with_relays(5, held_rounds=2)
    run_round(registry, WALL)
    for _ in range(4):
        assert run_round(registry, WALL, dead=(0, 1, 2)).held
        assert not run_round(registry, WALL).held


def test_when_most_relays_really_are_gone_they_leave_in_the_end() -> None:
    registry = with_relays(5, held_rounds=0)
    run_round(registry, WALL)
    for _ in range(2):
        run_round(registry, WALL, dead=(0, 1, 2))
    assert listed(registry) == ["relay3", "relay4"]


def test_half_is_not_more_than_half() -> None:
    registry = with_relays(4)
    run_round(registry, WALL)
    for _ in range(2):
        assert not run_round(registry, WALL, dead=(0, 1)).held
    assert listed(registry) == ["relay2", "relay3"]


def test_relays_that_were_never_listed_do_not_count_for_the_half() -> None:
    registry = with_relays(2)
    for number in range(10, 20):
        submit(registry, number)
    check_newcomers(registry, dead=tuple(range(10, 20)))
    run_round(registry, WALL)
    result = run_round(registry, WALL, dead=(1, *range(10, 20)))
    assert (result.failed, result.held) == (11, False)


def test_a_new_descriptor_is_listed_only_when_it_answered_too() -> None:
    registry = with_relays(1)
    assert submit(registry, 0, port=9002, published=WALL + 1) == "accepted"
    assert [one.descriptor.port for one in registry.listed()] == [9001]
    check_newcomers(registry, dead=(0,))
    assert [one.descriptor.port for one in registry.listed()] == [9001]
    run_round(registry, WALL)
    run_round(registry, WALL)
    assert [one.descriptor.port for one in registry.listed()] == [9002]


def test_a_check_of_an_older_descriptor_does_not_bring_it_back() -> None:
    registry = Registry(params())
    submit(registry, 0)
    (old,) = registry.take_fresh()
    submit(registry, 0, port=9002, published=WALL + 1)
    (new,) = registry.take_fresh()
    answer(registry, new)
    answer(registry, old)
    assert [one.descriptor.port for one in registry.listed()] == [9002]


def test_an_abandoned_check_counts_neither_way() -> None:
    registry = with_relays(3)
    run_round(registry, WALL)
    for _ in range(5):
        for word in registry.start_round(WALL):
            registry.abandoned(word)
        assert registry.end_round(WALL) == RoundResult(3, 0, False)
    assert len(listed(registry)) == 3
    submit(registry, 9)
    (word,) = registry.take_fresh()
    registry.abandoned(word)
    assert registry.status(word.identity, WALL).word == "checking"


# Since when.


def test_first_seen_survives_gaps_up_to_six_hours() -> None:
    registry = with_relays(5)
    run_round(registry, WALL)

    def since(number: int) -> int:
        return next(o.first_seen for o in registry.listed() if o.descriptor.nickname == f"relay{number}")

    assert since(0) == WALL
    for _ in range(2):
        run_round(registry, WALL + HOUR, dead=(0,))
    run_round(registry, WALL + 6 * HOUR)
    assert since(0) == WALL
    for _ in range(2):
        run_round(registry, WALL + 7 * HOUR, dead=(0,))
    run_round(registry, WALL + 12 * HOUR + 1)
    assert since(0) == WALL + 12 * HOUR + 1
    assert since(1) == WALL


def test_a_gap_of_the_authority_itself_is_no_gap() -> None:
    registry = with_relays(1)
    run_round(registry, WALL)
    run_round(registry, WALL + 100 * HOUR)
    assert registry.listed()[0].first_seen == WALL


# What is told of checks.


def test_since_when_a_relay_answers_and_is_listed() -> None:
    registry = with_relays(5)
    entry = registry.entry(descriptor(1).identity)
    assert entry is not None
    assert (entry.tested, entry.up_since, entry.turned) == (WALL, WALL, WALL)
    run_round(registry, WALL + HOUR)
    run_round(registry, WALL + 2 * HOUR, dead=(1,))
    assert (entry.tested, entry.up_since, entry.turned) == (WALL + 2 * HOUR, 0, WALL)
    run_round(registry, WALL + 3 * HOUR, dead=(1,))
    assert (entry.checked, entry.turned) == (None, WALL + 3 * HOUR)
    run_round(registry, WALL + 4 * HOUR)
    assert (entry.tested, entry.up_since, entry.turned) == (WALL + 4 * HOUR,) * 3
    assert entry.first_seen == WALL


def test_a_failure_that_is_set_aside_is_told_and_ends_no_uptime() -> None:
    registry = with_relays(3)
    run_round(registry, WALL + HOUR, dead=(0, 1, 2))
    run_round(registry, WALL + 2 * HOUR, dead=(0, 1, 2))
    entry = registry.entry(descriptor(1).identity)
    assert entry is not None
    assert (entry.answered, entry.failures, entry.up_since) == (False, 0, WALL)
    run_round(registry, WALL + 3 * HOUR)
    assert entry.up_hours(WALL + 3 * HOUR) == 3


def test_uptime_is_counted_anew_after_a_time_in_which_nobody_looked() -> None:
    registry = with_relays(1)
    run_round(registry, WALL + HOUR)
    entry = registry.entry(descriptor(0).identity)
    assert entry is not None
    run_round(registry, WALL + 3 * HOUR)
    assert entry.up_since == WALL
    run_round(registry, WALL + 7 * HOUR)
    assert entry.up_since == WALL + 7 * HOUR


# Bounds.


def test_relays_not_heard_of_are_forgotten_after_any_descriptor_of_theirs_is_too_old() -> None:
    assert FORGET_SECONDS > DESCRIPTOR_LIFE_SECONDS
    registry = with_relays(3)
    submit(registry, 9)
    check_newcomers(registry, dead=(9,))
    run_round(registry, WALL + FORGET_SECONDS, dead=(9,))
    assert len(registry) == 4
    run_round(registry, WALL + FORGET_SECONDS + 1, dead=(9,))
    assert len(registry) == 3
    assert registry.status(descriptor(9).identity, WALL).word == "unknown"
    assert len(listed(registry)) == 3


def test_no_more_than_so_many_relays_and_the_failing_ones_make_room() -> None:
    registry = Registry(params(), most_known=3)
    for number in range(3):
        assert submit(registry, number, wall=WALL + number) == "accepted"
    assert submit(registry, 4) == "busy"
    check_newcomers(registry, dead=(0, 1))
    assert submit(registry, 4) == "accepted"
    assert len(registry) == 3
    assert registry.status(descriptor(0).identity, WALL).word == "unknown"
    assert registry.status(descriptor(1).identity, WALL).word == "failing"
    assert listed(registry) == ["relay2"]


def test_one_sender_cannot_keep_the_directory_busy() -> None:
    registry = Registry(params())
    verdicts = [
        submit(registry, 1, published=WALL - 2 * POSTS_PER_INTERVAL + i) for i in range(POSTS_PER_INTERVAL)
    ]
    assert set(verdicts) == {"accepted"}
    assert submit(registry, 1) == "busy"
    assert submit(registry, 2) == "accepted"
    run_round(registry, WALL)
    assert submit(registry, 1) == "accepted"


def test_restart() -> None:
    registry = with_relays(3)
    submit(registry, 9)
    check_newcomers(registry, dead=(9,))
    run_round(registry, WALL, dead=(9,))
    again = Registry(params())
    again.restore(registry.entries())
    assert again.listed() == registry.listed()
    assert again.status(descriptor(9).identity, WALL) == registry.status(descriptor(9).identity, WALL)
    assert submit(again, 1, onion_key=b"x" * 32, published=WALL - 1) == "stale"
    assert submit(again, 10, host="8.0.1.1") == "accepted"
    assert submit(again, 11, host="8.0.1.1") == "forbidden"


def test_posts_are_counted_by_64_and_nobody_is_shut_out_by_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has a /64 has one address; whoever has thousands of them takes no place from others."""
    monkeypatch.setattr(module, "ADDRESSES_MOST", 2)
    registry = Registry(params())
    verdicts = [submit(registry, 1, source=f"2600::{number:x}") for number in range(1, 67)]
    assert verdicts == ["forbidden"] * POSTS_PER_INTERVAL + ["busy"] * 2
    assert submit(registry, 2) == "accepted"
    assert submit(registry, 3) == "accepted"
    assert registry.counted_addresses == 2


FOUR, SIX = Address.of("8.0.1.1", 9001), Address.of("2600::1", 9001)
ONION = Address.of("a2" * 28 + ".onion", 9001)


def addresses(registry: Registry) -> dict[str, tuple[Address, ...]]:
    return {one.descriptor.nickname: one.descriptor.addresses for one in registry.listed()}


def test_a_relay_is_listed_with_the_addresses_at_which_it_answered() -> None:
    registry = Registry(params(advertised_ip_rule=0))
    assert submit(registry, 1, addresses=(FOUR, SIX)) == "accepted"
    (word,) = registry.take_fresh()
    assert word.addresses == (FOUR, SIX)
    registry.checked(word, "no route", WALL, {SIX: "no route"})
    assert addresses(registry) == {"relay1": (FOUR,)}
    assert registry.status(word.identity, WALL) == ("reached", "no route")
    assert submit(registry, 1, addresses=(FOUR, SIX)) == "accepted"  # the same word asks for no new check
    assert registry.take_fresh() == ()
    registry.start_round(WALL)
    registry.end_round(WALL)
    (word,) = registry.start_round(WALL)
    assert word.addresses == (FOUR, SIX)
    registry.checked(word, None, WALL)
    registry.end_round(WALL)
    assert addresses(registry) == {"relay1": (FOUR, SIX)}
    assert registry.status(word.identity, WALL) == ("reached", "")
    restored = Registry(params())
    restored.restore(registry.entries())
    assert addresses(restored) == {"relay1": (FOUR, SIX)}


def test_a_relay_leaves_only_when_it_answers_nowhere() -> None:
    registry = Registry(params(held_rounds=0, advertised_ip_rule=0))
    submit(registry, 1, addresses=(FOUR, SIX))
    check_newcomers(registry)
    registry.start_round(WALL)
    registry.end_round(WALL)
    for missed, listed_at in (((FOUR,), (SIX,)), ((FOUR, SIX), (SIX,)), ((FOUR, SIX), None)):
        (word,) = registry.start_round(WALL)
        registry.checked(word, "gone", WALL, dict.fromkeys(missed, "gone"))
        registry.end_round(WALL)
        assert addresses(registry) == ({} if listed_at is None else {"relay1": listed_at})


def test_a_later_signing_key_counts_at_every_address() -> None:
    """Descriptors of one date under two signing keys are two descriptors."""
    early, late = (signer(1, WALL + days * 86_400).signing for days in (10, 20))
    registry = Registry(params(advertised_ip_rule=0))
    submit(registry, 1, addresses=(FOUR, SIX), signing=early)
    (old,) = registry.take_fresh()
    registry.checked(old, None, WALL)
    registry.start_round(WALL)
    registry.end_round(WALL)
    assert submit(registry, 1, addresses=(FOUR, SIX), signing=late) == "accepted"
    (word,) = registry.take_fresh()
    assert (word.addresses, word.signing) == ((FOUR, SIX), late)
    registry.checked(word, "no route", WALL, {SIX: "no route"})
    registry.checked(old, None, WALL)  # an answer that took long
    [listed] = registry.listed()
    assert (listed.descriptor.signing, listed.descriptor.addresses) == (late, (FOUR,))
    registry.start_round(WALL)
    registry.end_round(WALL)
    assert registry.start_round(WALL + 21 * 86_400) == ()


def test_each_address_is_judged_and_counted() -> None:
    registry = Registry(params(relays_per_ip=1))
    assert submit(registry, 1, addresses=(FOUR, SIX)) == "accepted"
    check_newcomers(registry)
    ask_elsewhere(registry)
    assert submit(registry, 2, addresses=(SIX,), source="2600::1") == "forbidden"
    assert submit(registry, 3, addresses=(FOUR,)) == "forbidden"
    assert submit(registry, 4, addresses=(Address.of("8.0.1.4", 1), SIX)) == "forbidden"
    private = Address.of("fd00::1", 1)
    assert submit(registry, 5, addresses=(Address.of("8.0.1.5", 1), private)) == "forbidden"
    twice = (Address.of("8.0.1.6", 1), Address.of("8.0.1.7", 1))
    assert submit(registry, 6, addresses=twice) == "forbidden"
    assert submit(registry, 7, addresses=(Address.of("8.0.1.7", 1),), source="8.0.1.8") == "forbidden"
    other = Address.of("2601::7", 1)
    assert submit(registry, 7, addresses=(Address.of("8.0.1.7", 1), other), source="2601::7") == "accepted"


def test_other_addresses_are_asked_only_once_the_relay_answered_at_its_own() -> None:
    registry = Registry(params())
    submit(registry, 1, addresses=(FOUR, SIX))
    (word,) = registry.take_fresh()
    assert word.addresses == (FOUR,)
    assert registry.elsewhere(WALL) == ()
    registry.checked(word, "refused", WALL)
    assert registry.elsewhere(WALL) == ()
    assert registry.status(word.identity, WALL) == ("failing", "refused")
    run_round(registry, WALL)
    run_round(registry, WALL)
    assert ask_elsewhere(registry) == {"relay1": (SIX,)}
    assert addresses(registry) == {"relay1": (FOUR, SIX)}
    assert registry.elsewhere(WALL) == ()
    assert [word.addresses for word in registry.start_round(WALL)] == [(FOUR, SIX)]


def test_what_is_not_its_own_and_does_not_answer_counts_for_nothing() -> None:
    registry = Registry(params(failed_checks=1, held_rounds=0))
    submit(registry, 1, addresses=(FOUR, SIX))
    check_newcomers(registry)
    assert ask_elsewhere(registry, WALL + HOUR, dead=(1,)) == {"relay1": (SIX,)}
    assert addresses(registry) == {"relay1": (FOUR,)}
    entry = registry.entry(descriptor(1).identity)
    assert entry is not None
    assert (entry.tested, entry.answered, entry.failures) == (WALL, True, 0)
    assert registry.status(descriptor(1).identity, WALL) == ("reached", f"it did not answer at {SIX}")
    for _ in range(2):
        run_round(registry, WALL + HOUR, dead=(1,))
    assert registry.elsewhere(WALL) == ()
    assert registry.status(descriptor(1).identity, WALL) == ("failing", "refused")


def test_a_stranger_is_knocked_at_once_an_interval_whatever_is_sent_in() -> None:
    """From many addresses, by many relays that are at work, with another port of it each time."""
    registry = Registry(params())
    for number in range(1, 20):
        submit(registry, number, addresses=(descriptor(number).addresses[0], Address.of("2600::1", number)))
    check_newcomers(registry)
    for interval in range(30):
        for number in range(1, 20):
            names = (descriptor(number).addresses[0], Address.of(f"2600::{interval + 2:x}", number))
            submit(registry, number, addresses=names, published=WALL + 1 + interval)
        assert {word.addresses[1:] for word in check_newcomers(registry)} <= {()}
        run_round(registry, WALL)
        knocks = ask_elsewhere(registry, WALL + interval * HOUR, dead=tuple(range(20)))
        assert sum(map(len, knocks.values())) == 1


def test_relays_that_name_an_address_by_turns_do_not_keep_it_from_the_one_that_is_there() -> None:
    low, his, high = sorted((1, 2, 3), key=lambda number: descriptor(number).identity)
    homes = {number: descriptor(number).addresses[0] for number in (low, his, high)}
    registry = Registry(params())
    submit(registry, his, addresses=(homes[his], SIX))
    for interval in range(1, 6):
        wall = WALL + interval * HOUR
        for number in (low, high):
            names = (SIX,) * ((number == low) == (wall // HOUR % 2 == 0))
            submit(registry, number, addresses=(homes[number], *names), published=WALL + interval)
        check_newcomers(registry)
        run_round(registry, wall)
        ask_elsewhere(registry, wall, dead=(low, high))
    assert addresses(registry)[f"relay{his}"] == (homes[his], SIX)


def test_a_relay_may_publish_from_each_of_its_addresses() -> None:
    """Then none of them is a stranger's, and others who name one do not matter."""
    registry = Registry(params())
    submit(registry, 1, addresses=(FOUR, SIX))
    assert submit(registry, 1, addresses=(FOUR, SIX), source=SIX.host) == "accepted"
    assert [word.addresses for word in check_newcomers(registry)] == [(FOUR,), (SIX,)]
    assert registry.elsewhere(WALL) == ()
    assert addresses(registry) == {"relay1": (FOUR, SIX)}


def test_after_a_restart_a_relay_that_is_not_listed_is_asked_like_a_stranger_until_it_publishes() -> None:
    registry = Registry(params())
    submit(registry, 1, addresses=(FOUR, SIX))
    submit(registry, 2)
    check_newcomers(registry, dead=(1,))
    again = Registry(params())
    again.restore(tuple(replace(entry, home=None) for entry in registry.entries()))
    assert [word.nickname for word in again.start_round(WALL)] == ["relay2"]
    again.end_round(WALL)
    assert ask_elsewhere(again, dead=(1,)) == {"relay1": (FOUR,)}
    assert again.status(descriptor(1).identity, WALL) == ("failing", f"it did not answer at {FOUR}")
    assert submit(again, 1, addresses=(FOUR, SIX)) == "accepted"
    assert [word.addresses for word in again.take_fresh()] == [(FOUR,)]


def test_whoever_names_anothers_address_does_not_keep_it_out() -> None:
    registry = Registry(params(relays_per_ip=5, held_rounds=0))
    thief = (Address.of("8.0.9.9", 1), SIX)
    submit(registry, 9, addresses=thief)
    submit(registry, 1, addresses=(FOUR, SIX))
    check_newcomers(registry)
    run_round(registry, WALL)
    for turn in range(2):
        submit(registry, 9, addresses=thief, wall=WALL + 1)  # heard of last
        run_round(registry, WALL)
        ask_elsewhere(registry, WALL + turn * HOUR, dead=(9,))
    assert addresses(registry) == {"relay1": (FOUR, SIX), "relay9": thief[:1]}
    run_round(registry, WALL)
    asked = {word.nickname: word.addresses for word in registry.start_round(WALL)}
    assert asked == {"relay1": (FOUR, SIX), "relay9": thief[:1]}
    registry.end_round(WALL)
    assert ask_elsewhere(registry, dead=(9,)) == {"relay9": (SIX,)}
    assert addresses(registry) == {"relay1": (FOUR, SIX), "relay9": thief[:1]}


def test_what_a_relay_names_and_does_not_answer_at_takes_nobodys_place() -> None:
    registry = Registry(params(relays_per_ip=1))
    thief = (Address.of("8.0.1.9", 1), SIX)
    submit(registry, 9, addresses=thief, source="8.0.1.9")
    assert submit(registry, 1, addresses=(SIX,), source=SIX.host) == "accepted"
    check_newcomers(registry, dead=(1,))
    ask_elsewhere(registry, dead=(9,))
    assert addresses(registry) == {"relay9": thief[:1]}
    assert submit(registry, 1, addresses=(SIX,), source=SIX.host, published=WALL + 1) == "accepted"
    assert submit(registry, 2, addresses=thief[:1], source="8.0.1.9") == "forbidden"


def test_a_new_address_that_does_not_answer_says_nothing_of_the_old_one() -> None:
    registry = Registry(params(failed_checks=1))
    submit(registry, 1, addresses=(FOUR,))
    check_newcomers(registry)
    submit(registry, 1, addresses=(FOUR, SIX), published=WALL + 1)
    assert registry.take_fresh() == ()
    assert ask_elsewhere(registry, dead=(1,)) == {"relay1": (SIX,)}
    assert addresses(registry) == {"relay1": (FOUR,)}


def test_an_address_that_was_not_asked_again_after_it_failed_keeps_nobody_listed() -> None:
    registry = Registry(params(failed_checks=2, advertised_ip_rule=0))
    submit(registry, 1, addresses=(FOUR, SIX))
    (word,) = check_newcomers(registry)
    registry.checked(word, "gone", WALL)
    assert addresses(registry) == {"relay1": (FOUR, SIX)}
    registry.checked(replace(word, addresses=(FOUR,)), "gone", WALL)
    assert addresses(registry) == {}


def test_a_new_address_that_answers_is_listed_beside_the_old_one() -> None:
    registry = Registry(params())
    submit(registry, 1, addresses=(FOUR,))
    check_newcomers(registry)
    submit(registry, 1, addresses=(FOUR, SIX), published=WALL + 1)
    assert registry.take_fresh() == ()
    assert ask_elsewhere(registry) == {"relay1": (SIX,)}
    assert addresses(registry) == {"relay1": (FOUR, SIX)}


def test_changed_params_are_kept_to_at_once() -> None:
    registry = Registry(params(relays_per_ip=1))
    assert submit(registry, 1, addresses=(FOUR,)) == "accepted"
    assert submit(registry, 2, addresses=(FOUR,)) == "forbidden"
    registry.params = params(relays_per_ip=2)
    assert submit(registry, 2, addresses=(FOUR,)) == "accepted"


def test_a_relay_that_only_tor_reaches_needs_a_directory_that_goes_over_tor() -> None:
    for over_tor, verdict in ((False, "forbidden"), (True, "accepted")):
        registry = Registry(params(), over_tor=over_tor)
        word = descriptor(1, addresses=(ONION,))
        told = registry.submit(word, "198.51.100.1", WALL)
        assert told.verdict.value == verdict
        assert over_tor or told.why == "only reachable over tor; this directory has no --via tor"


def test_relays_that_only_tor_reaches_are_counted_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "ONLY_OVER_TOR_MOST", 2)
    registry = Registry(params(), over_tor=True)
    hosts = [letter * 56 + ".onion" for letter in "abcd"]
    verdicts = [submit(registry, n, host=host, source="198.51.100.1") for n, host in enumerate(hosts)]
    assert verdicts == ["accepted", "accepted", "forbidden", "forbidden"]
    check_newcomers(registry, dead=(0,))  # it makes room
    assert submit(registry, 3, host=hosts[3], source="198.51.100.1") == "accepted"
    assert submit(registry, 5) == "accepted"
