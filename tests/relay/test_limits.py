from __future__ import annotations

from dataclasses import replace

from onionshh.core.base.params import Params
from onionshh.core.link.outbox import Memory
from onionshh.core.link.port import LinkPort
from onionshh.relay.limits import CreateLimits


def port(host: str) -> LinkPort:
    return LinkPort(Memory(1), [], peer=None, initiated=False, host=host, now=0.0)


def allowed(limits: CreateLimits, link: LinkPort, params: Params, now: float, tries: int = 100) -> int:
    return sum(limits.allow(link, params, now) for _ in range(tries))


def test_each_link_has_its_own_bucket() -> None:
    params = replace(Params(), create_rate=2, create_burst=5, create_ip_rate=0)
    limits, one, other = CreateLimits(), port("1.1.1.1"), port("1.1.1.1")
    assert allowed(limits, one, params, 0.0) == 5
    assert allowed(limits, other, params, 0.0) == 5
    assert allowed(limits, one, params, 2.0) == 4


def test_links_of_one_address_share_a_bucket() -> None:
    params = replace(Params(), create_rate=0, create_ip_rate=3, create_burst=5)
    limits = CreateLimits()
    assert allowed(limits, port("1.1.1.1"), params, 0.0) == 5
    assert allowed(limits, port("1.1.1.1"), params, 0.0) == 0
    assert allowed(limits, port("2.2.2.2"), params, 0.0) == 5
    assert allowed(limits, port("1.1.1.1"), params, 1.0) == 3


def test_a_rate_of_0_is_off() -> None:
    params = replace(Params(), create_rate=0, create_ip_rate=0)
    assert allowed(CreateLimits(), port("1.1.1.1"), params, 0.0, 5000) == 5000


def test_a_later_consensus_changes_the_rates() -> None:
    strict = replace(Params(), create_rate=1, create_burst=1, create_ip_rate=1)
    limits, link = CreateLimits(), port("1.1.1.1")
    assert allowed(limits, link, strict, 0.0) == 1
    assert allowed(limits, link, replace(strict, create_rate=0, create_ip_rate=0), 0.0) == 100
    wide = replace(strict, create_rate=50, create_ip_rate=50, create_burst=50)
    assert allowed(limits, link, wide, 10.0) == 50
