"""What a program sees of a transfer that it sends."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from onionshh.client.receipt import PathInfo
from onionshh.client.transfer import PATHS_MOST, Course, Transfer, TransferProgress


def made(size: int | None = None) -> tuple[Course, Transfer, list[bool]]:
    cancelled: list[bool] = []
    course = Course("ab" * 16, size, lambda: "no guard answers")
    return course, Transfer(course, lambda: cancelled.append(True)), cancelled


async def test_progress_is_given_now_and_whenever_it_changes() -> None:
    course, transfer, _ = made()
    found: list[TransferProgress] = []

    async def watch() -> None:
        found.extend([progress async for progress in transfer])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        for arrived, size in ((5, None), (5, 9), (9, 9)):
            await wait_all_tasks_blocked()
            course.arrived(arrived, size)
        await wait_all_tasks_blocked()
        course.conclude("delivered", "")
    assert found == [TransferProgress(*pair) for pair in ((0, None), (5, None), (5, 9), (9, 9))]
    assert [progress async for progress in transfer] == [TransferProgress(9, 9)]


async def test_whoever_is_slow_gets_the_latest() -> None:
    course, transfer, _ = made(9)
    changes = aiter(transfer)
    assert await anext(changes) == TransferProgress(0, 9)
    for arrived in range(1, 10):
        course.arrived(arrived, 9)
    assert await anext(changes) == TransferProgress(9, 9)


async def test_an_end_is_final() -> None:
    course, transfer, cancelled = made(9)
    assert (transfer.status, transfer.why, transfer.is_final) == ("sending", "no guard answers", False)
    course.conclude("expired", "too late")
    course.conclude("delivered", "")
    await transfer.final()
    assert (transfer.status, transfer.why, transfer.is_final) == ("expired", "too late", True)
    assert (transfer.id, transfer.size, transfer.sent_bytes) == ("ab" * 16, 9, 0)
    transfer.cancel()
    assert cancelled
    assert repr(transfer) == "<Transfer expired>"


def test_the_last_ways_are_remembered() -> None:
    course, transfer, _ = made()
    for number in range(PATHS_MOST + 3):
        course.paths.append(PathInfo(number, ()))
    assert [path.hops for path in transfer.paths] == list(range(3, PATHS_MOST + 3))
