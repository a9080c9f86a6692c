"""Why descriptors were refused: the last of each relay, so many and so long, and no address of others."""

from __future__ import annotations

from onionshh.directory.refusals import MOST, REMEMBERED_SECONDS, Refusals

HOSTS = ("8.8.8.8", "2600::1")


def refuse(refusals: Refusals, number: int, why: str = "too late", *, now: float = 0.0) -> None:
    refusals.refused(number.to_bytes(32, "big"), why, now, source="9.9.9.9", hosts=HOSTS)


def why(refusals: Refusals, number: int, now: float = 0.0) -> str | None:
    return refusals.why(number.to_bytes(32, "big"), now)


def test_the_last_one_is_told_with_its_age_and_then_forgotten() -> None:
    refusals = Refusals()
    assert why(refusals, 1) is None
    refuse(refusals, 1, "first")
    refuse(refusals, 1, "second", now=10)
    assert why(refusals, 1, 190) == "refused 3 minutes ago: second"
    assert why(refusals, 1, 10 + REMEMBERED_SECONDS) is not None
    assert why(refusals, 1, 11 + REMEMBERED_SECONDS) is None


def test_a_descriptor_that_is_taken_ends_it() -> None:
    refusals = Refusals()
    refuse(refusals, 1)
    refusals.taken((1).to_bytes(32, "big"))
    refusals.taken((2).to_bytes(32, "big"))
    assert why(refusals, 1) is None


def test_no_more_than_so_many_the_oldest_goes() -> None:
    refusals = Refusals()
    for number in range(MOST):
        refuse(refusals, number)
    refuse(refusals, 0)
    refuse(refusals, MOST)
    assert len(refusals) == MOST
    assert why(refusals, 0) is not None
    assert why(refusals, 1) is None


def test_where_a_descriptor_came_from_is_told_to_nobody() -> None:
    """It may be the address of whoever looks after the relay. What a relay advertises is public anyway."""
    refusals = Refusals()
    refuse(refusals, 1, "this came from 9.9.9.9 but advertises 8.8.8.8")
    told = why(refusals, 1)
    assert told is not None
    assert told.endswith("this came from another address but advertises 8.8.8.8")
    refusals.refused(bytes(32), "there are 2 relays at 2600::1", 0.0, source="2600::1", hosts=HOSTS)
    assert (refusals.why(bytes(32), 0.0) or "").endswith("2 relays at 2600::1")
