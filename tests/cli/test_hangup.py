"""SIGHUP reloads where there is a file to read again, and ends all else, and what lost its terminal."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import trio

from onionshh.cli import hangup
from onionshh.cli.ending import SIGNALS, drained_by, end_on_signals, ended_by_signal, run

CONFIGURED = ("relay", "--config", "made.toml")
CLOSED = "onionshh: ending, since its terminal was closed.\n"
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    numbers = (*SIGNALS, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    monkeypatch.setattr(hangup, "has_terminal", lambda: False)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    hangup.forget()


def hang_up() -> None:
    os.kill(os.getpid(), signal.SIGHUP)


async def until(done: list[str], count: int) -> int:
    while len(done) < count:
        hang_up()
        await trio.sleep(0.001)
    return 7


def test_with_a_file_it_reloads_and_nothing_ends() -> None:
    done: list[str] = []
    with end_on_signals():
        hangup.expect(CONFIGURED)
        hangup.reload_by(lambda: done.append("again"))
        assert run(lambda: until(done, 3)) == 7
        assert not ended_by_signal()


def test_one_that_came_early_is_not_lost() -> None:
    done: list[str] = []

    async def work() -> int:
        while not done:
            await trio.sleep(0)
        return 7

    with end_on_signals():
        hangup.expect(("host", "--config=made.toml"))
        hang_up()
        hangup.reload_by(lambda: done.append("again"))
        assert run(work) == 7


def test_in_a_unit_nothing_ends_and_without_a_file_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/manager")
    said: list[str] = []

    async def work() -> int:
        while not said:
            hang_up()
            await trio.sleep(0.001)
            said.extend(capsys.readouterr().err.splitlines())
        return 7

    with end_on_signals():
        hangup.expect(("relay",))
        assert run(work) == 7
        assert not ended_by_signal()
    assert set(said) == {"onionshh: nothing was changed: without --config there is no file to read again."}


@pytest.mark.parametrize(
    "arguments, hint",
    [
        (("relay",), "; with --config it would read its file again"),
        (("relay", "--configs", "x"), "; with --config it would read its file again"),
        (("network", "--config", "x"), ""),
    ],
)
def test_without_a_file_it_ends_and_says_why(arguments: tuple[str, ...], hint: str, capsys: Captured) -> None:
    with end_on_signals():
        hangup.expect(arguments)
        assert not hangup.expected()
        assert run(lambda: trio_sleep()) == 1
        assert ended_by_signal()
    assert capsys.readouterr() == ("", f"onionshh: ending, since SIGHUP came{hint}.\n")


@pytest.mark.parametrize("configured", [True, False])
@pytest.mark.parametrize("early", [True, False])
def test_sigterm_long_after_the_terminal_was_closed_is_sigterm(
    configured: bool, early: bool, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """As after nohup."""
    monkeypatch.setattr(hangup, "has_terminal", lambda: True)
    with end_on_signals():
        hangup.expect(CONFIGURED[: 1 + 2 * configured])
        monkeypatch.setattr(hangup, "has_terminal", lambda: False)
        if early:
            with pytest.raises(SystemExit):
                os.kill(os.getpid(), signal.SIGTERM)
        else:
            run(lambda: trio_sleep(signal.SIGTERM))
    assert capsys.readouterr().err == "onionshh: ending, since SIGTERM came.\n"


def test_what_is_ending_says_that_it_takes_up_nothing(capsys: Captured) -> None:
    """As a relay that drains."""
    done: list[str] = []
    said: list[str] = []

    async def drain() -> None:
        while len(said) < 2:
            hang_up()
            await trio.sleep(0.001)
            said.extend(line for line in capsys.readouterr().err.splitlines() if "SIGTERM" not in line)

    async def work() -> int:
        drained_by(drain, 5.0)
        return await trio_sleep(signal.SIGTERM)

    with end_on_signals():
        hangup.expect(CONFIGURED)
        hangup.reload_by(lambda: done.append("again"))
        run(work)
    assert done == []
    ending = "onionshh: nothing was changed: this program is ending, so its file is not read again."
    assert set(said) == {ending}


async def trio_sleep(number: int = signal.SIGHUP) -> int:
    os.kill(os.getpid(), number)
    await trio.sleep(60)
    return 7


def test_a_closed_terminal_ends_it_whatever_the_file(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    done: list[str] = []
    monkeypatch.setattr(hangup, "has_terminal", lambda: True)
    with end_on_signals():
        hangup.expect(CONFIGURED)
        hangup.reload_by(lambda: done.append("again"))
        assert run(lambda: until(done, 2)) == 7  # the terminal is there: somebody else asks
        monkeypatch.setattr(hangup, "has_terminal", lambda: False)
        assert run(lambda: trio_sleep()) == 1
        assert ended_by_signal()
    assert len(done) == 2
    assert capsys.readouterr().err == CLOSED


@pytest.mark.parametrize("configured", [True, False])
def test_a_terminal_that_closes_before_trio_runs_ends_it_too(
    configured: bool, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(hangup, "has_terminal", lambda: True)
    with end_on_signals():
        hangup.expect(CONFIGURED[: 1 + 2 * configured])
        monkeypatch.setattr(hangup, "has_terminal", lambda: False)
        with pytest.raises(SystemExit):
            hang_up()
        assert ended_by_signal()
    assert capsys.readouterr().err == CLOSED


def test_what_a_parent_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with end_on_signals():
        hangup.expect(CONFIGURED)
        assert not hangup.expected()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_process_of_its_own_session_has_no_terminal() -> None:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os._exit(0 if not REAL() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


REAL = hangup.has_terminal
