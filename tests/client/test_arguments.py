"""What programs give is checked once, and the sentence names the argument."""

from __future__ import annotations

import math

import pytest
from trio.testing import MockClock

import onionshh
from onionshh.client.arguments import check_post_ttl, check_seconds, check_timeout, check_whole, relay_ids
from tests.client.world import small


@pytest.mark.parametrize("value", [0, 21, -1, 2.0, True, "3", None, math.nan])
def test_a_number_that_is_not_whole_or_out_of_its_range(value: object) -> None:
    with pytest.raises(ValueError, match=r"^introducers must be a whole number, from 1 to 20, not "):
        check_whole("introducers", value, 1, 20)
    check_whole("introducers", 1, 1, 20)
    check_whole("introducers", 20, 1, 20)


def test_a_number_without_an_upper_bound() -> None:
    check_whole("at_once", 10**6, 1)
    with pytest.raises(ValueError, match="at_once must be a whole number, 1 or more, not 0"):
        check_whole("at_once", 0, 1)


@pytest.mark.parametrize("value", [-0.1, math.inf, -math.inf, math.nan])
def test_seconds_are_finite_and_not_negative(value: float) -> None:
    with pytest.raises(ValueError, match=r"^wait_seconds must be a finite number of seconds, 0 or more"):
        check_seconds("wait_seconds", value)


@pytest.mark.parametrize("value", ["5", None, True])
def test_seconds_are_a_number(value: object) -> None:
    with pytest.raises(TypeError, match="wait_seconds must be a number of seconds, not "):
        check_seconds("wait_seconds", value)
    with pytest.raises(TypeError, match="timeout_seconds must be a number of seconds, not "):
        check_timeout("timeout_seconds", value)


def test_a_timeout_is_more_than_nothing_and_may_have_no_end() -> None:
    check_timeout("timeout_seconds", 0.001)
    check_timeout("timeout_seconds", math.inf)
    for value in (0, -1, math.nan):
        with pytest.raises(ValueError, match="timeout_seconds must be "):
            check_timeout("timeout_seconds", value)


@pytest.mark.parametrize("value", [60, 60.5, 86_400, 7 * 86_400])
def test_a_post_lies_for_a_minute_to_seven_days(value: float) -> None:
    check_post_ttl(value)


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (59.9, ValueError, "ttl_seconds must be a finite number of seconds, 60 or more, not 59.9"),
        (-1, ValueError, "60 or more, not -1"),
        (math.inf, ValueError, "finite number"),
        (math.nan, ValueError, "finite number"),
        (7 * 86_400 + 1, ValueError, r"ttl_seconds must be at most 604800 \(7 days\), not 604801"),
        ("600", TypeError, "ttl_seconds must be a number of seconds, not str"),
        (True, TypeError, "not bool"),
        (None, TypeError, "not NoneType"),
    ],
)
def test_a_post_lies_no_other_time(value: object, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        check_post_ttl(value)


@pytest.mark.parametrize("wrong", ["ab", "xyz", "", "00" * 33, 5, None])
def test_an_identity_that_is_none_is_told(wrong: object) -> None:
    good = "0f" * 32
    assert relay_ids("own_relays", [good, good.upper()]) == {bytes.fromhex(good)}
    with pytest.raises(ValueError, match="own_relays must be relay identities of 64 hex digits each, not "):
        relay_ids("own_relays", [good, wrong])  # type: ignore[list-item]


def test_one_identity_is_no_list() -> None:
    with pytest.raises(TypeError, match="own_relays must be a list"):
        relay_ids("own_relays", "0f" * 32)


async def test_the_public_functions_check_at_the_door(autojump_clock: MockClock) -> None:
    for given, name in (
        ({"own_relays": ["ab"]}, "own_relays"),
        ({"introduction_hops": 7}, "introduction_hops"),
        ({"wait_seconds": -1.0}, "wait_seconds"),
        ({"bind": "nonsense"}, "'nonsense' is not an IP address of this machine"),
        ({"via": "http://127.0.0.1:1"}, "via: that is not a proxy; write socks5://HOST:PORT"),
        ({"bind": "203.0.113.9"}, "'203.0.113.9' is not an IP address of this machine"),
    ):
        with pytest.raises(ValueError, match=name):
            async with onionshh.join("no such file", data_dir=None, **given):
                pass
    async with small() as net, net.join() as node, node.host(net.folder / "identity") as endpoint:
        with pytest.raises(ValueError, match="introducers must be a whole number"):
            node.host(net.folder / "other", introducers=2.5)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="give_up_after must be a whole number"):
            node.host(net.folder / "other", give_up_after=True)
        async with node.contact(endpoint.address) as contact:
            with pytest.raises(TypeError, match="timeout_seconds"):
                await contact.ask(b"hello", timeout_seconds="5")  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="A TTL is a number"):
                await contact.ask(b"hello", ttl_seconds="5")  # type: ignore[arg-type]
