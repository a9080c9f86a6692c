from __future__ import annotations

import pytest

from onionshh.core.endpoint.replay import ReplayLog


def entry(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_a_hash_is_new_once() -> None:
    log = ReplayLog(10)
    assert not log.seen(entry(1))
    assert log.check_and_add(entry(1))
    assert log.seen(entry(1))
    assert not log.check_and_add(entry(1))
    assert log.check_and_add(entry(2))


def test_what_was_on_disk_counts() -> None:
    log = ReplayLog(10, [entry(1), entry(2)])
    assert not log.check_and_add(entry(2))
    assert len(log) == 2


def test_a_full_log_says_so_while_one_more_introduction_is_safe() -> None:
    log = ReplayLog(5)
    full = []
    for number in range(5):
        full.append(log.full)
        log.check_and_add(entry(number))
    assert full == [False, False, False, False, True], "one place left, an introduction needs two"


def test_what_cannot_be_entered_must_not_be_acted_on() -> None:
    log = ReplayLog(2)
    assert [log.check_and_add(entry(number)) for number in range(3)] == [True, True, False]
    assert not log.seen(entry(2))


def test_only_hashes_are_entered() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        ReplayLog(5).check_and_add(b"short")
