"""What a directory makes of signing keys: which it takes, which counts, and when a relay leaves the list."""

from __future__ import annotations

from typing import Any

from onionshh.core.base.params import Params
from onionshh.core.certificate import CLOCK_SECONDS, MOST_SECONDS
from onionshh.directory import certificates
from onionshh.directory.entry import explained
from onionshh.directory.registry import Answer, Registry, Verdict
from onionshh.wire.descriptor import RelayDescriptor
from tests.directory.world import WALL, descriptor, signer

DAY = 86_400
HOUR = 3600


def word(expires: int, **changes: Any) -> RelayDescriptor:
    """Relay 1 with a signing key until then."""
    return descriptor(1, signing=signer(1, expires).signing, **changes)


def submit(registry: Registry, said: RelayDescriptor, wall: int = WALL) -> Answer:
    return registry.submit(said, said.host, wall)


def check(registry: Registry, wall: int = WALL) -> None:
    for said in registry.take_fresh():
        registry.checked(said, None, wall)


def one_round(registry: Registry, wall: int) -> list[RelayDescriptor]:
    asked = list(registry.start_round(wall))
    for said in asked:
        registry.checked(said, None, wall)
    registry.end_round(wall)
    return asked


def listed(registry: Registry) -> list[RelayDescriptor]:
    return [one.descriptor for one in registry.listed()]


def test_a_certificate_that_is_over_or_lasts_too_long_is_refused_in_words() -> None:
    registry = Registry(Params())
    for expires, why in (
        (WALL - DAY, "signing key ended on"),
        (WALL, "signing key ended on"),
        (WALL + MOST_SECONDS + CLOCK_SECONDS + 1, "400 days are the most"),
        (2**64 - 1, "400 days are the most"),
    ):
        answer = submit(registry, word(expires))
        assert answer.verdict is Verdict.FORBIDDEN
        assert why in answer.why
        assert answer.clocks
        assert len(registry) == 0
    for expires in (WALL + 1, WALL + MOST_SECONDS):
        assert submit(Registry(Params()), word(expires)).verdict is Verdict.ACCEPTED


def test_a_relay_leaves_the_list_when_its_certificate_ends_and_is_told_why() -> None:
    registry, said = Registry(Params()), word(WALL + 2 * HOUR)
    submit(registry, said)
    check(registry)
    registry.unlist_ended(WALL + 2 * HOUR - 1)
    assert listed(registry) == [said]
    registry.unlist_ended(WALL + 2 * HOUR)
    assert listed(registry) == []
    status = registry.status(said.identity, WALL + 2 * HOUR)
    assert status.word == "ended"
    assert "signing key ended on" in status.why
    entry = registry.entry(said.identity)
    assert entry is not None
    assert explained(entry, status) == (
        "The relay's signing key ended on 2023-11-14 03:00:00 UTC, here it is 2023-11-14 03:00:00 UTC;"
        " make a new one with `onionshh master sign`."
    )
    # Its last check was answered, and it says since when it is not listed.
    assert (entry.answered, entry.turned, entry.up_hours(WALL + 2 * HOUR)) == (True, WALL + 2 * HOUR, None)
    # It still answers, and stays away: it is not even asked.
    assert one_round(registry, WALL + 3 * HOUR) == []
    registry.checked(said, None, WALL + 3 * HOUR)
    assert listed(registry) == []


def test_a_relay_whose_signing_key_is_over_holds_no_place() -> None:
    registry, said = Registry(Params().with_overrides({"relays_per_ip": 1}), most_known=1), word(WALL + HOUR)
    submit(registry, said)
    check(registry)
    other = descriptor(2, host=said.host)
    assert submit(registry, other, WALL + HOUR).verdict is Verdict.FORBIDDEN
    registry.unlist_ended(WALL + HOUR)
    assert submit(registry, other, WALL + HOUR).verdict is Verdict.ACCEPTED
    assert registry.status(said.identity, WALL + HOUR).word == "unknown", "it made room"


def test_one_that_was_not_asked_before_its_signing_key_ended_is_told_so() -> None:
    registry, said = Registry(Params()), word(WALL + HOUR)
    submit(registry, said)
    registry.unlist_ended(WALL + HOUR)
    assert registry.status(said.identity, WALL + HOUR).word == "ended"
    registry.sure = False
    assert registry.status(said.identity, WALL + HOUR).word == "checking"


def test_the_next_signing_key_brings_it_back() -> None:
    registry = Registry(Params())
    submit(registry, word(WALL + HOUR))
    check(registry)
    registry.unlist_ended(WALL + HOUR)
    one_round(registry, WALL + HOUR)
    later = word(WALL + 30 * DAY, published=WALL + HOUR)
    assert submit(registry, later, WALL + HOUR).verdict is Verdict.ACCEPTED
    check(registry, WALL + HOUR)
    one_round(registry, WALL + HOUR)
    assert listed(registry) == [later]
    assert registry.status(later.identity, WALL).word == "reached"


def test_while_its_clock_is_not_sure_nothing_ends() -> None:
    registry, said = Registry(Params()), word(WALL + HOUR)
    submit(registry, said)
    check(registry)
    registry.sure = False
    registry.unlist_ended(WALL + 365 * DAY)
    one_round(registry, WALL + 365 * DAY)
    assert listed(registry) == [said]


def test_a_later_signing_key_makes_an_earlier_one_worthless_whatever_the_dates_say() -> None:
    """The thief of a disk is ahead of us with its dates, and has its own address listed."""
    registry = Registry(Params())
    stolen = word(WALL + 20 * DAY, published=WALL + 500)
    submit(registry, stolen)
    check(registry)
    ours = word(WALL + 30 * DAY, port=9002)
    assert submit(registry, ours).verdict is Verdict.ACCEPTED
    check(registry)
    assert listed(registry) == [ours]
    for published in (WALL + 100, WALL + 600):
        answer = submit(registry, word(WALL + 20 * DAY, published=published))
        assert answer.verdict is Verdict.STALE
        assert "ends later" in answer.why
    registry.checked(stolen, None, WALL)  # a check that was under way
    assert listed(registry) == [ours]


def test_dates_decide_where_one_has_no_certificate() -> None:
    """An operator may go back to the identity itself."""
    plain, certified = descriptor(1, published=WALL + 10), word(WALL + DAY)
    assert certificates.lead(plain, certified) == certificates.lead(certified, plain) == 0
    assert certificates.lead(word(WALL + 2 * DAY), certified) == DAY
    registry = Registry(Params())
    submit(registry, certified)
    assert submit(registry, plain).verdict is Verdict.ACCEPTED
    assert submit(registry, certified).verdict is Verdict.STALE


def test_a_relay_with_its_identity_never_ends() -> None:
    assert not certificates.is_over(descriptor(1), 2**63)
    assert certificates.problem(descriptor(1), WALL) == ""
