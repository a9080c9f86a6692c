"""Consensus parameters: every one is carried, ranged and overridable; a bad set is refused whole."""

from __future__ import annotations

import pytest

from onionshh.core.base.params import ONE_MACHINE, RANGES, Params, default_params, parse_override
from onionshh.errors import ProtocolError


def test_round_trip_of_values_that_are_all_different_from_the_defaults() -> None:
    changed = Params().with_overrides(
        {
            "interval_seconds": 60,
            "valid_seconds": 600,
            "ack_every": 62,
            "window": 248,
            "queue_cap": 496,
            "subnet_rule": 0,
        }
    )
    assert changed.to_pairs() == tuple(sorted(changed.to_pairs()))
    assert len(changed.to_pairs()) == len(RANGES)
    assert Params.from_pairs_untrusted(changed.to_pairs()) == changed


def test_unknown_names_are_ignored_and_missing_ones_are_the_defaults() -> None:
    assert Params.from_pairs_untrusted([("from_the_future", 3), ("interval_seconds", 60)]) == (
        Params().with_overrides({"interval_seconds": 60})
    )


@pytest.mark.parametrize("name", sorted(RANGES))
def test_every_range_holds_at_both_ends(name: str) -> None:
    least, most = RANGES[name]
    assert least <= getattr(Params(), name) <= most
    for value in (least - 1, most + 1):
        with pytest.raises(ProtocolError):
            Params.from_pairs_untrusted([(name, value)])
        with pytest.raises(ValueError, match=name):
            Params().with_overrides({name: value})


@pytest.mark.parametrize(
    "pairs",
    [
        {"ack_every": 30},
        {"queue_cap": 247},
        {"valid_seconds": 3600},
        {"publish_min_seconds": 7201},
        {"client_padding_min_ms": 9501},
        {"introducer_life_min_seconds": 24 * 3600 + 1},
    ],
    ids=str,
)
def test_contradictions(pairs: dict[str, int]) -> None:
    with pytest.raises(ProtocolError):
        Params.from_pairs_untrusted(pairs.items())
    with pytest.raises(ValueError, match="contradict"):
        Params().with_overrides(pairs)


def test_the_numbers_of_the_specification() -> None:
    params = Params()
    assert (params.ack_every, params.window, params.queue_cap) == (124, 496, 1024)
    assert (params.interval_seconds, params.period_seconds, params.ring_age_seconds) == (
        3600,
        86400,
        96 * 3600,
    )
    assert (params.relays_per_ip, params.failed_checks, params.seen_gap_seconds) == (2, 2, 6 * 3600)
    assert default_params(authorities=1).valid_seconds == 24 * 3600
    assert default_params(authorities=3).valid_seconds == 3 * 3600


def test_one_machine() -> None:
    params = default_params(one_machine=True)
    assert all(getattr(params, name) == value for name, value in ONE_MACHINE.items())
    assert (params.interval_seconds, params.valid_seconds, params.subnet_rule) == (5, 3600, 0)
    assert not params.contradiction()
    assert default_params(authorities=3, one_machine=True).valid_seconds == 3600


def test_overrides_as_an_operator_types_them() -> None:
    assert parse_override("interval_seconds=60") == ("interval_seconds", 60)
    assert parse_override(" link_rate = 1_000 ") == ("link_rate", 1000)
    for text in ("interval_seconds", "=5", "x=", "x=-1", "x=1.5", "x=abc", "x=" + "9" * 16, "x=²"):
        with pytest.raises(ValueError, match=r"NAME=VALUE|whole number"):
            parse_override(text)
    with pytest.raises(ValueError, match="no parameter 'intervall'"):
        Params().with_overrides({"intervall": 5})


def test_periods() -> None:
    assert [Params().period_of(t) for t in (0, 86399, 86400, 20 * 86400 + 1)] == [0, 0, 1, 20]
