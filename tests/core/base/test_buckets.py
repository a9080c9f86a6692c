from __future__ import annotations

from onionshh.core.base.buckets import Buckets, TokenBucket


def taken(bucket: TokenBucket, now: float, tries: int) -> int:
    return sum(bucket.take(now) for _ in range(tries))


def test_a_burst_then_the_rate() -> None:
    bucket = TokenBucket(5, 10)
    assert taken(bucket, 100.0, 50) == 10
    assert taken(bucket, 101.0, 50) == 5
    assert taken(bucket, 101.1, 50) == 0
    assert taken(bucket, 101.2, 50) == 1
    assert taken(bucket, 1000.0, 50) == 10


def test_a_refusal_takes_nothing_and_time_never_runs_back() -> None:
    bucket = TokenBucket(1, 4)
    assert not bucket.take(0.0, 5)
    assert bucket.take(0.0, 4)
    assert not bucket.take(-100.0)
    assert bucket.take(-99.0), "one second after the last look"


def test_how_long_until_there_are_tokens() -> None:
    bucket = TokenBucket(0.5, 4)
    assert bucket.seconds_until(0.0) == 0.0
    assert bucket.seconds_until(0.0, 5) == 2.0
    assert taken(bucket, 0.0, 4) == 4
    assert (bucket.seconds_until(0.0), bucket.seconds_until(0.0, 3)) == (2.0, 6.0)
    assert bucket.seconds_until(1.5) == 0.5
    assert not bucket.take(1.5)
    wait = bucket.seconds_until(1.5)
    assert bucket.take(1.5 + wait)
    assert TokenBucket(0, 0).seconds_until(0.0) == 0.0


def test_rate_zero_is_off() -> None:
    bucket = TokenBucket(0, 0)
    assert taken(bucket, 0.0, 1000) == 1000
    buckets: Buckets[str] = Buckets(0, 0, most=1)
    assert all(buckets.take(str(key), 0.0) for key in range(100))
    assert len(buckets) == 0


def test_each_key_has_its_own() -> None:
    buckets: Buckets[str] = Buckets(1, 2, most=10)
    assert [buckets.take("a", 0.0) for _ in range(3)] == [True, True, False]
    assert buckets.take("b", 0.0)
    assert not buckets.take("a", 0.5)
    assert buckets.take("a", 1.5)


def test_the_map_is_bounded_and_forgets_what_was_used_longest_ago() -> None:
    buckets: Buckets[int] = Buckets(1, 1, most=3)
    for key in range(3):
        assert buckets.take(key, 0.0)
    assert not buckets.take(0, 0.1)
    assert buckets.take(3, 0.2)
    assert len(buckets) == 3
    assert not buckets.take(0, 0.3), "used lately, so not the one forgotten"
    assert buckets.take(1, 0.3)


def test_buckets_that_are_full_again_are_forgotten_before_there_is_need() -> None:
    buckets: Buckets[int] = Buckets(1, 1, most=1000)
    for key in range(100):
        buckets.take(key, 0.0)
    for key in range(100, 200):
        buckets.take(key, 10.0)
    assert len(buckets) <= 100


def test_new_parameters_hold_for_the_buckets_that_are() -> None:
    buckets: Buckets[str] = Buckets(1, 100, most=10)
    buckets.take("a", 0.0)
    buckets.burst = 2
    assert [buckets.take("a", 0.0) for _ in range(3)] == [True, True, False]
