"""Every command ends cleanly at the first signal, with the status that is true by then."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import trio

from onionshh.cli import main
from onionshh.cli.ending import (
    SIGNALS,
    drained_by,
    end_on_signals,
    ended_by_signal,
    run,
    status_when_ended,
    when_ended,
)
from onionshh.errors import DataInUse, NoDirectory


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Nothing that a command sets for its process is left for the next test; and none is ignored from the
    start, as a shell has SIGINT ignored by what it runs in the background."""
    numbers = (*SIGNALS, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signals_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert main(["--version"]) == 0
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("command", "status"), [("host", 0), ("relay", 0), ("directory", 0), ("network", 0), ("whisper", 1)]
)
def test_a_signal_in_the_first_moment_ends_what_runs_for_ever_as_any_later_one(
    command: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_command(arguments: list[str]) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("went on")

    monkeypatch.setattr("onionshh.cli.app.run_command", run_command)
    assert main([command]) == status
    assert capsys.readouterr() == ("", "onionshh: ending, since SIGTERM came.\n")


def test_a_command_that_no_signal_ends_has_its_own_status() -> None:
    async def work() -> int:
        await trio.lowlevel.checkpoint()
        return 3

    with end_on_signals():
        assert run(work) == 3
        assert not ended_by_signal()


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("status", [None, 0])
def test_a_signal_cancels_the_work_and_what_it_opened_is_closed(
    number: signal.Signals, status: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it was to do is not done, unless it has said so before. It says why it ends, but not to whoever
    pressed Ctrl-C."""
    closed = []

    async def work() -> int:
        if status is not None:
            when_ended(status)
        try:
            os.kill(os.getpid(), number)
            await trio.sleep(60)
        finally:
            closed.append(True)
        return 2

    with end_on_signals():
        assert run(work) == (1 if status is None else status)
        assert ended_by_signal()
        assert status_when_ended() == (1 if status is None else status)
    assert closed
    said = "" if number is signal.SIGINT else f"onionshh: ending, since {number.name} came.\n"
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize("number", SIGNALS)
def test_what_drains_does_so_on_sigterm_alone_while_its_work_goes_on(number: signal.Signals) -> None:
    happened: list[str] = []

    async def drain() -> None:
        happened.append("drains")
        await trio.sleep(0.1)
        happened.append("drained")

    async def work() -> int:
        drained_by(drain, 5.0)
        try:
            os.kill(os.getpid(), number)
            await trio.sleep(60)
        finally:
            happened.append("closed")
        return 2

    with end_on_signals():
        run(work)
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert happened == (["drains", "drained"] if number is signal.SIGTERM else []) + ["closed"]


def test_a_drain_has_its_time_before_the_command_counts_as_hung() -> None:
    left: list[float] = []

    async def drain() -> None:
        left.append(signal.getitimer(signal.ITIMER_REAL)[0])
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # the second one ends it at once
        await trio.lowlevel.checkpoint()

    async def work() -> int:
        drained_by(drain, 50.0)
        os.kill(os.getpid(), signal.SIGTERM)
        await trio.sleep(60)
        return 2

    with end_on_signals():
        run(work)
    assert 50.0 < left[0] <= 54.0


def test_who_started_us_may_want_a_signal_ignored() -> None:
    """As nohup does SIGHUP."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def work() -> int:
        os.kill(os.getpid(), signal.SIGHUP)
        await trio.lowlevel.checkpoint()
        return 0

    with end_on_signals():
        assert run(work) == 0
        assert not ended_by_signal()


def test_a_report_that_was_asked_for_before_anybody_could_give_it_is_given() -> None:
    given: list[bool] = []

    async def work() -> int:
        while not given:
            await trio.sleep(0)
        return 0

    with end_on_signals():
        os.kill(os.getpid(), signal.SIGUSR1)
        assert run(work, report=lambda: given.append(True)) == 0
    assert given == [True]


def test_of_several_errors_one_comes_out_bare() -> None:
    async def fail(error: Exception) -> None:
        raise error

    async def work() -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, NoDirectory("x"))
            nursery.start_soon(fail, KeyError("a fault of ours"))
        return 0

    with end_on_signals(), pytest.raises(KeyError):
        run(work)

    async def one() -> int:
        await fail(DataInUse("x"))
        return 0

    with end_on_signals(), pytest.raises(DataInUse):
        run(one)
