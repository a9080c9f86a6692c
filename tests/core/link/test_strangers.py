"""Links that others opened, by address: how many, how fast, and whose is looked at to make room."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onionshh.core.base.params import Params
from onionshh.core.link import strangers as strangers_file
from onionshh.core.link.strangers import Strangers
from onionshh.reasons import Reason


class Limits:
    """Parameters that may change at any time."""

    def __init__(self, **given: int) -> None:
        self.params = replace(Params(), **{"link_rate": 0, "links_per_ip": 0, **given})
        self.strangers: Strangers[str] = Strangers(lambda: self.params)

    def take(self, host: str, link: str, now: float = 0.0) -> str | None:
        refusal = self.strangers.refusal(host, now)
        if refusal is None:
            self.strangers.add(host, link)
        return refusal


def test_so_many_from_one_address() -> None:
    limits = Limits(links_per_ip=2)
    refusals = [limits.take("10.0.0.1", str(number)) for number in range(3)]
    assert refusals == [None, None, Reason.LINKS_PER_ADDRESS]
    assert limits.take("10.0.0.2", "x") is None
    limits.strangers.remove("10.0.0.1", "0")
    assert limits.take("10.0.0.1", "3") is None


def test_so_many_a_second() -> None:
    limits = Limits(link_rate=1, link_burst=2)
    assert [limits.take("10.0.0.1", str(number)) for number in range(3)] == [None, None, Reason.LINK_RATE]
    assert limits.take("10.0.0.1", "3", now=1.0) is None
    assert limits.take("10.0.0.1", "4", now=1.0) == Reason.LINK_RATE


def test_the_limits_are_those_in_force() -> None:
    limits = Limits(links_per_ip=1)
    assert limits.take("10.0.0.1", "a") is None
    assert limits.take("10.0.0.1", "b") == Reason.LINKS_PER_ADDRESS
    limits.params = replace(limits.params, links_per_ip=2)
    assert limits.take("10.0.0.1", "b") is None


def test_one_64_is_one_address() -> None:
    limits = Limits(links_per_ip=1)
    assert limits.take("2001:db8::1", "a") is None
    assert limits.take("2001:db8::2", "b") == Reason.LINKS_PER_ADDRESS
    assert limits.take("2001:db8:0:1::1", "c") is None
    assert limits.strangers.addresses == 2


def test_addresses_are_counted_while_they_have_links() -> None:
    limits = Limits()
    for host, link in (("10.0.0.1", "a"), ("10.0.0.1", "b"), ("10.0.0.2", "c")):
        limits.take(host, link)
    assert limits.strangers.addresses == 2
    limits.strangers.remove("10.0.0.1", "a")
    assert limits.strangers.addresses == 2
    limits.strangers.remove("10.0.0.1", "b")
    assert limits.strangers.addresses == 1
    with pytest.raises(KeyError):
        limits.strangers.remove("10.0.0.1", "b")


def test_room_is_made_where_most_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits()
    assert list(limits.strangers.of_the_largest()) == []
    for number in range(5):
        limits.take("10.0.0.1", f"one {number}")
        limits.take("10.0.0.2", f"other {number}")
    limits.take("10.0.0.2", "other 5")
    assert list(limits.strangers.of_the_largest()) == [f"other {number}" for number in range(6)]
    monkeypatch.setattr(strangers_file, "LOOKED_AT_MOST", 4)
    assert list(limits.strangers.of_the_largest()) == [f"other {number}" for number in range(4)]
