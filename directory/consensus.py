"""Builds a consensus: weights, flags, shared random rows, dates (SPEC 8, 10). Pure.

The input is what the registry vouches for. The output is one document body, the same for the same input,
whoever builds it. Random bytes are used for new shared random values alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_low

from onionshh.core.base.params import Params
from onionshh.directory.entry import Listed
from onionshh.geometry import HASH
from onionshh.ids import RandomBytes
from onionshh.wire import consensus as wire
from onionshh.wire.consensus import Consensus, RelayRow, SharedRandom
from onionshh.wire.descriptor import CAPABILITY_RING, Paced, RelayDescriptor, only_over_tor

RANDOM_SECONDS = 7 * 86_400
"""So long after its period a random value is still in the consensus: a letter waits for as long."""
RANDOM_KEPT_MOST = wire.MOST_RANDOM + 8
"""An authority keeps more rows than it publishes, for a clock that jumps."""


def build(
    listed: Sequence[Listed],
    *,
    network: str,
    params: Params,
    shared_random: tuple[SharedRandom, ...],
    valid_after: int,
    previous: bytes = b"",
) -> Consensus:
    """The consensus that begins at `valid_after` (Unix seconds) with these relays. `previous`: the SHA3-256
    of the body before it, empty if there is none.

    When there are more relays than a document holds, those that were known longest stay: thousands of
    newcomers cannot push them out. A relay's row has the addresses that were checked, and no others.
    """
    # A clock that ran ahead wrote dates in the future.
    since = (relay._replace(first_seen=min(relay.first_seen, valid_after)) for relay in listed)
    oldest_first = sorted(since, key=lambda relay: (relay.first_seen, relay.descriptor.identity))
    kept = oldest_first[: wire.CONSENSUS_RELAYS_MOST]
    kept.sort(key=lambda relay: relay.descriptor.identity)
    weights = weights_of([relay.descriptor for relay in kept], params.weight_cap_percent)
    guard_age = guard_age_seconds(kept, params, valid_after)
    rows = tuple(
        RelayRow(
            identity=relay.descriptor.identity,
            onion_key=relay.descriptor.onion_key,
            nickname=relay.descriptor.nickname,
            addresses=relay.descriptor.addresses,
            weight=weight,
            flags=flags_of(relay, params, guard_age, valid_after),
            first_seen=relay.first_seen,
            family=relay.descriptor.family,
            versions=relay.descriptor.versions,
            software=relay.descriptor.software,
        )
        for relay, weight in zip(kept, weights, strict=True)
    )
    paced = [relay.descriptor.paced for relay in kept]
    return Consensus(
        network=network,
        valid_after=valid_after,
        fresh_until=next_boundary(valid_after, params.interval_seconds),
        valid_until=valid_after + params.valid_seconds,
        params=params.to_pairs(),
        shared_random=shared_random,
        relays=rows,
        crowd=Paced(sum(links.hush for links in paced), sum(links.dark for links in paced)),
        previous=previous,
    )


def next_boundary(wall: int, interval_seconds: int) -> int:
    """The next moment at which a consensus is due. Intervals are counted from the Unix epoch, so that all
    authorities of a network agree on them."""
    return (wall // interval_seconds + 1) * interval_seconds


def next_random(
    held: Sequence[SharedRandom], *, params: Params, valid_after: int, random_bytes: RandomBytes
) -> tuple[SharedRandom, ...]:
    """The shared random rows for a consensus, rising by period (SPEC 10).

    They are those of the previous period, the current one and, from the middle of the current period on, the
    next one. Of the periods before these, back to `RANDOM_SECONDS` ago, there are those that are held: where
    there was no value, nobody kept anything.

    A value once held is kept as it is. If its date is later than now, a clock ran ahead, and the date is set
    to now. The caller writes the result to disk before it publishes it.
    """
    period = params.period_of(valid_after)
    late = 2 * (valid_after - period * params.period_seconds) >= params.period_seconds
    newest = period + 1 if late else period
    known = {row.period: row for row in held}
    for due in range(max(period - 1, 0), newest + 1):
        if due not in known:
            known[due] = SharedRandom(due, random_bytes(HASH), valid_after)
    wanted = range(max(period - periods_before(params.period_seconds), 0), newest + 1)
    rows = (known[due] for due in wanted if due in known)
    return tuple(row._replace(published=min(row.published, valid_after)) for row in rows)


def periods_before(period_seconds: int) -> int:
    """How many periods before the current one may be in a consensus: those of `RANDOM_SECONDS`, as long as
    there is also room for the current one and the next."""
    return min(-(-RANDOM_SECONDS // period_seconds), wire.MOST_RANDOM - 2)


def kept_random(held: Sequence[SharedRandom], rows: Sequence[SharedRandom]) -> tuple[SharedRandom, ...]:
    """What an authority keeps when it publishes these rows: the rows, newest first, and the most recently
    needed of those that it held. A clock that jumped may come back to their periods."""
    now = {row.period for row in rows}
    return (*reversed(rows), *(row for row in held if row.period not in now))[:RANDOM_KEPT_MOST]


def weights_of(descriptors: Sequence[RelayDescriptor], cap_percent: int) -> list[int]:
    """Each relay's weight. Relays that only tor reaches cost their owner no address, so all of them together
    weigh no more than the heaviest other relay. Each weighs at least 1, so with few others all are scaled."""
    hidden = [one.bandwidth for one in descriptors if only_over_tor(one.addresses)]
    others = capped_weights(
        [one.bandwidth for one in descriptors if not only_over_tor(one.addresses)], cap_percent
    )
    if not hidden:
        return others
    heaviest, claims = max(others, default=1), sum(hidden) or 1
    scale = 1 if heaviest >= len(hidden) else len(hidden)
    room = scale * heaviest - len(hidden)
    shares = iter([min(max(1, scale * claim), 1 + room * claim // claims) for claim in hidden])
    rest = iter([scale * weight for weight in others])
    return [next(shares if only_over_tor(one.addresses) else rest) for one in descriptors]


def capped_weights(claims: Sequence[int], cap_percent: int) -> list[int]:
    """Each relay's weight: its bandwidth claim, but at most max(cap, 1/n) of the whole.

    Nobody checks a claim, so the cap bounds what a liar gains. A claim of 0 still counts 1. With so few
    relays that 1/n is the greater bound, all weights are equal: nothing else meets that bound.
    """
    weights = [max(1, claim) for claim in claims]
    count = len(weights)
    if count * cap_percent <= 100:
        return [1] * count
    falling = sorted(weights, reverse=True)
    rest = sum(falling)
    # With the `above` largest cut down to c, c is the cap's part of the whole when
    # c·(100 - percent·above) = percent·rest. By the last `above` that leaves a divisor, c reaches `rest`, so
    # the loop ends; rounding down keeps every weight within the cap.
    for above, largest in enumerate(falling):
        cap = cap_percent * rest // (100 - cap_percent * above)
        if largest <= cap:
            break
        rest -= largest
    return [max(1, min(weight, cap)) for weight in weights]


def guard_age_seconds(listed: Sequence[Listed], params: Params, valid_after: int) -> int:
    """How long a relay must have been listed to be a GUARD: the parameter, or the median age where that is
    less. So a young network has guards from its first day, and at least half of any network may be guards."""
    if not listed:
        return params.guard_age_seconds
    return min(params.guard_age_seconds, median_low(valid_after - relay.first_seen for relay in listed))


def flags_of(relay: Listed, params: Params, guard_age: int, valid_after: int) -> int:
    """GUARD by age, RING by what the relay offers (where everyone reaches it), FAST by what it claims."""
    flags = 0
    if valid_after - relay.first_seen >= guard_age:
        flags |= wire.GUARD
    if relay.descriptor.capabilities & CAPABILITY_RING and not only_over_tor(relay.descriptor.addresses):
        flags |= wire.RING
    if relay.descriptor.bandwidth >= params.fast_bytes_per_second:
        flags |= wire.FAST
    return flags
