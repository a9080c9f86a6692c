"""Every number that the whole network must agree on, with its default and its range (SPEC 8, 17).

A consensus carries them as pairs of a name and an integer; the unit is in the name. Unknown names are
ignored, so that a newer authority can serve older nodes. If a value is out of its range, the whole document
is refused, because half a set of rules is worse than none. For rates, limits and ages 0 means off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from types import MappingProxyType

from onionshh.errors import ProtocolError
from onionshh.reasons import Reason

_MINUTE = 60
_HOUR = 3600
_DAY = 24 * _HOUR
_MIB = 1024 * 1024
_MOST = 2**40


def _number(default: int, least: int, most: int) -> int:
    """A parameter with its range. Its type is int, because the finished dataclass has an int there."""
    number: int = field(default=default, metadata={"least": least, "most": most})
    return number


@dataclass(frozen=True, slots=True)
class Params:
    """The consensus parameters of one network. Immutable; compare and copy freely."""

    # The directory (SPEC 8).
    interval_seconds: int = _number(_HOUR, 1, _DAY)
    valid_seconds: int = _number(_DAY, 2, 30 * _DAY)
    relays_per_ip: int = _number(2, 0, 65535)
    advertised_ip_rule: int = _number(1, 0, 1)
    private_address_rule: int = _number(1, 0, 1)
    failed_checks: int = _number(2, 1, 100)
    held_rounds: int = _number(6, 0, 1000)
    seen_gap_seconds: int = _number(6 * _HOUR, 0, 30 * _DAY)
    weight_cap_percent: int = _number(5, 1, 100)
    guard_age_seconds: int = _number(8 * _DAY, 0, 365 * _DAY)
    fast_bytes_per_second: int = _number(1_000_000, 0, _MOST)

    # Periods, ring and endpoint descriptors (SPEC 10).
    period_seconds: int = _number(_DAY, 60, 30 * _DAY)
    ring_age_seconds: int = _number(96 * _HOUR, 0, 365 * _DAY)
    publish_min_seconds: int = _number(_HOUR, 1, 30 * _DAY)
    publish_max_seconds: int = _number(2 * _HOUR, 1, 30 * _DAY)
    descriptor_bytes: int = _number(256 * _MIB, 0, _MOST)
    descriptor_grace_seconds: int = _number(3 * _HOUR, 0, 30 * _DAY)

    # Mailboxes (SPEC 14).
    mailbox_bytes: int = _number(256 * _MIB, 0, _MOST)

    # Paths and guards (SPEC 6).
    subnet_rule: int = _number(1, 0, 1)
    guard_sample: int = _number(6, 1, 100)
    guard_use: int = _number(2, 1, 100)
    guard_life_seconds: int = _number(120 * _DAY, 60, 3650 * _DAY)
    onion_key_seconds: int = _number(_DAY + 2 * _HOUR, 60, 365 * _DAY)
    hop_timeout_seconds: int = _number(10, 1, _HOUR)

    # Flow and queues (SPEC 7).
    ack_every: int = _number(124, 1, 4096)
    window: int = _number(496, 1, 65536)
    queue_cap: int = _number(1024, 1, 1_000_000)

    # Links (SPEC 5, 17).
    link_rate: int = _number(20, 0, _MOST)
    link_burst: int = _number(40, 0, _MOST)
    links_per_ip: int = _number(100, 0, _MOST)
    circuits_per_link: int = _number(65536, 1, _MOST)
    handshake_seconds: int = _number(10, 1, _HOUR)
    frame_seconds: int = _number(10, 1, _HOUR)
    link_dead_seconds: int = _number(30, 1, _HOUR)
    link_idle_seconds: int = _number(180, 1, _DAY)
    client_padding_min_ms: int = _number(1500, 1, _HOUR * 1000)
    client_padding_max_ms: int = _number(9500, 1, _HOUR * 1000)
    relay_padding_seconds: int = _number(15, 1, _HOUR)

    # Circuits at a relay (SPEC 17).
    create_rate: int = _number(30, 0, _MOST)
    create_burst: int = _number(500, 0, _MOST)
    create_ip_rate: int = _number(100, 0, _MOST)
    create_queue: int = _number(256, 1, _MOST)

    # Introduction and rendezvous (SPEC 11, 17).
    introduce_rate: int = _number(25, 0, _MOST)
    introduce_burst: int = _number(200, 0, _MOST)
    resume_rate: int = _number(100, 0, _MOST)
    resume_burst: int = _number(400, 0, _MOST)
    introduction_keys: int = _number(1024, 1, _MOST)
    introducer_life_min_seconds: int = _number(18 * _HOUR, 1, 30 * _DAY)
    introducer_life_max_seconds: int = _number(24 * _HOUR, 1, 30 * _DAY)
    cookies: int = _number(4096, 1, _MOST)
    replay_log_entries: int = _number(16384, 1, _MOST)

    # Whispers (SPEC 13).
    talk_receipt_seconds: int = _number(10, 1, _HOUR)

    @classmethod
    def from_pairs_untrusted(cls, pairs: Iterable[tuple[str, int]]) -> Params:
        """The parameters from (name, value) pairs, with defaults for the others.

        Raises ProtocolError for a value out of range or for parameters that contradict each other.
        """
        known = {}
        for name, value in pairs:
            bounds = RANGES.get(name)
            if bounds is None:
                continue
            if not bounds[0] <= value <= bounds[1]:
                raise ProtocolError(Reason.PARAMS_RANGE)
            known[name] = value
        params = cls(**known)
        if params.contradiction():
            raise ProtocolError(Reason.PARAMS_CONTRADICTION)
        return params

    def to_pairs(self) -> tuple[tuple[str, int], ...]:
        """All parameters as (name, value), sorted by name, as a consensus carries them."""
        return tuple(sorted(asdict(self).items()))

    def with_overrides(self, overrides: Mapping[str, int]) -> Params:
        """A copy with an operator's values. ValueError has a sentence for people."""
        for name, value in overrides.items():
            if name not in RANGES:
                raise ValueError(f"There is no parameter {name!r}; choose from {', '.join(sorted(RANGES))}.")
            least, most = RANGES[name]
            if not least <= value <= most:
                raise ValueError(f"{name} must be between {least} and {most}, not {value}.")
        params = replace(self, **overrides)
        wrong = params.contradiction()
        if wrong:
            raise ValueError(f"These parameters contradict each other: {wrong}.")
        return params

    def contradiction(self) -> str:
        """Which parameters contradict each other, in words. Empty if none do."""
        if self.window % self.ack_every:
            return "ack_every must divide window"
        if self.queue_cap < 2 * self.window:
            return "queue_cap must be at least twice window"
        if self.valid_seconds <= self.interval_seconds:
            return "valid_seconds must be more than interval_seconds"
        if self.onion_key_seconds < self.valid_seconds + self.interval_seconds:
            return "onion_key_seconds must be at least valid_seconds and interval_seconds together"
        for low, high in _ORDERED:
            if getattr(self, low) > getattr(self, high):
                return f"{low} must not be more than {high}"
        return ""

    def period_of(self, valid_after: int) -> int:
        """The period of a consensus with this valid-after (Unix seconds) (SPEC 10)."""
        return valid_after // self.period_seconds


_ORDERED = (
    ("publish_min_seconds", "publish_max_seconds"),
    ("client_padding_min_ms", "client_padding_max_ms"),
    ("introducer_life_min_seconds", "introducer_life_max_seconds"),
)

RANGES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {item.name: (item.metadata["least"], item.metadata["most"]) for item in fields(Params)}
)
"""Name of each parameter -> (least, most)."""

ONE_MACHINE: Mapping[str, int] = MappingProxyType(
    {
        "interval_seconds": 5,
        "valid_seconds": _HOUR,
        "relays_per_ip": 0,
        "advertised_ip_rule": 0,
        "private_address_rule": 0,
        "guard_age_seconds": 0,
        "ring_age_seconds": 0,
        "subnet_rule": 0,
        "link_rate": 0,
        "links_per_ip": 0,
        "create_rate": 0,
        "create_ip_rate": 0,
        "introduce_rate": 0,
        "resume_rate": 0,
    }
)
"""What is different on a one-machine network, where every node has the same address (SPEC 8)."""


def default_params(*, authorities: int = 1, one_machine: bool = False) -> Params:
    """The parameters that a network starts with.

    With three authorities one may be down for a long time, so a consensus can be valid for a shorter time.
    """
    params = Params()
    if authorities >= 3:
        params = replace(params, valid_seconds=3 * _HOUR)
    return replace(params, **ONE_MACHINE) if one_machine else params


def parse_override(text: str) -> tuple[str, int]:
    """`NAME=VALUE` as an operator types it. ValueError has a sentence for people."""
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or not name:
        raise ValueError(f"{text!r} is not a parameter; write NAME=VALUE, for example interval_seconds=60.")
    digits = value.strip().replace("_", "")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 15):
        raise ValueError(f"The value of {name} must be a whole number, 0 or more, not {value.strip()!r}.")
    return name, int(digits)
