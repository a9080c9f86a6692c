"""A program that runs on its links' selector."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence

import pytest
import trio
import trio.testing

from onionshh.net.hosted import HostedReader
from onionshh.net.transport import Watched
from tests.net.test_transport import Pass, pairs, running


def test_a_hosted_program_reads_waits_and_returns() -> None:
    reader = HostedReader()

    async def main() -> str:
        async with pairs(True, 1) as (_, (ear,), (far,)):
            work = Pass(more=3)
            far.send_some(b"x")
            reader.watch(ear)
            async with running(reader, work):
                while len(work.passes) < 3:
                    await trio.sleep(0.001)
                assert await trio.to_thread.run_sync(threading.get_ident) != threading.get_ident()
                assert work.passes == [1, 0, 0]
                assert ear.heard == b"x"
                reader.forget(ear)
        return "done"

    assert reader.run_program(main) == "done"


def test_a_hosted_program_raises_what_its_main_function_raised() -> None:
    async def main() -> None:
        await trio.sleep(0)
        raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        HostedReader().run_program(main)


def test_a_fault_in_the_work_comes_out_where_the_links_run() -> None:
    reader = HostedReader()

    def work(ready: Sequence[Watched]) -> bool:
        raise ZeroDivisionError

    async def main() -> None:
        async with pairs(True, 1) as (_, (ear,), (far,)):
            reader.watch(ear)
            far.send_some(b"x")
            with trio.fail_after(5), pytest.raises(ZeroDivisionError):
                await reader.run(work)
            reader.forget(ear)

    reader.run_program(main)


def test_one_set_of_links_hangs_on_a_hosted_reader() -> None:
    reader = HostedReader()

    async def main() -> None:
        async with running(reader, Pass()):
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(RuntimeError):
                await reader.run(Pass())

    reader.run_program(main)


def test_a_signal_wakes_a_hosted_program() -> None:
    async def main() -> int:
        with trio.open_signal_receiver(signal.SIGUSR1) as signals:
            os.kill(os.getpid(), signal.SIGUSR1)
            with trio.fail_after(5):
                async for number in signals:
                    return number
        return 0

    assert HostedReader().run_program(main) == signal.SIGUSR1
