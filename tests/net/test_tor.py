"""An onion service at tor's control port: what is asked, what may go wrong, and that it comes back."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh.net import tor
from onionshh.net.onion import PORT, OnionKey
from onionshh.net.store import run_inline
from onionshh.net.tor import RETRY_SECONDS, Control, ControlFailed, OnionService, Published, publish
from tests.seeded import seeded

pytestmark = pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning")  # of stem

KEY = OnionKey(seeded(7)(32))
SERVICE = KEY.host.removesuffix(".onion")
TARGET = ("127.0.0.1", 4321)
HASH = "A" * 40
OK = "250 OK"

Answers = Callable[[str], str | None]


def answers(line: str, *, methods: str = "NULL", service: str = SERVICE, added: str = "") -> str | None:
    """What C tor answers to each command; lines are separated by newlines."""
    word, _, rest = line.partition(" ")
    match word:
        case "PROTOCOLINFO":
            return f'250-PROTOCOLINFO 1\n250-AUTH METHODS={methods}\n250-VERSION Tor="0.4.9.11"\n{OK}'
        case "AUTHENTICATE":
            return OK if rest in ("", '"s3cret"') else "515 Authentication failed: Password did not match"
        case "GETINFO":
            return f"250-version=0.4.9.11\n{OK}" if rest == "version" else "552 Unrecognized key"
        case "GETCONF":
            return f"250 {rest.split()[0]}"
        case "ADD_ONION":
            steps = (f"650 HS_DESC {step} {service} UNKNOWN ${HASH}" for step in ("UPLOAD", "UPLOADED"))
            events = "\n".join(steps)
            return added or f"250-ServiceID={service}\n{OK}\n{events}"
    return OK


class ControlPort:
    """A control port with these answers; None closes the connection, "" says nothing."""

    def __init__(self, answer: Answers) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self.heard: list[str] = []
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        try:
            end, _ = self._listener.accept()
        except OSError:
            return
        self._ends.append(end)
        with end, end.makefile("rb") as lines:
            for raw in lines:
                self.heard.append(raw.decode().rstrip("\r\n"))
                answer = self._answer(self.heard[-1])
                if answer is None:
                    return
                if answer:
                    end.sendall(answer.replace("\n", "\r\n").encode() + b"\r\n")

    def close(self) -> None:
        for end in (*self._ends, self._listener):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._thread.join()


@contextmanager
def control_port(answer: Answers = answers) -> Iterator[ControlPort]:
    port = ControlPort(answer)
    try:
        yield port
    finally:
        port.close()


def test_the_service_is_asked_for_under_our_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    with control_port() as there:
        published = publish(Control("127.0.0.1", there.port), KEY, TARGET)
        assert published.is_alive()
        (asked,) = [line for line in there.heard if line.startswith("ADD_ONION")]
        assert asked == f"ADD_ONION ED25519-V3:{KEY.for_tor()} Port={PORT},127.0.0.1:4321"
        published.close()
        assert not published.is_alive()
    assert KEY.for_tor() not in caplog.text
    assert logging.getLogger("stem").level == logging.CRITICAL


def test_a_password_is_used_where_one_is_wanted() -> None:
    with control_port(lambda line: answers(line, methods="HASHEDPASSWORD")) as there:
        publish(Control("127.0.0.1", there.port, password="s3cret"), KEY, TARGET).close()
        assert 'AUTHENTICATE "s3cret"' in there.heard


def test_nothing_is_told_to_another_persons_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes the port while tor is down would get the password, and the key of the service."""
    asked = []

    def strangers(there: tuple[str, int], ours: tuple[str, int]) -> set[int]:
        asked.append((there, ours))
        return {1001}

    monkeypatch.setattr(tor, "strangers", strangers)
    with (
        control_port() as there,
        pytest.raises(ControlFailed, match="another user of this machine; use tor's"),
    ):
        publish(Control("127.0.0.1", there.port, password="s3cret"), KEY, TARGET)
    assert there.heard == []
    assert asked[0][0] == ("127.0.0.1", there.port) != asked[0][1]


def test_no_password_in_a_repr() -> None:
    assert "s3cret" not in repr(Control("127.0.0.1", 9051, password="s3cret"))


@pytest.mark.parametrize(
    ("answer", "password", "said"),
    [
        (lambda line: answers(line, methods="HASHEDPASSWORD"), None, "wants a password: put it into"),
        (lambda line: answers(line, methods="HASHEDPASSWORD"), "wr0ng", "does not take the password"),
        (lambda line: answers(line, methods='COOKIE COOKIEFILE="/no/such"'), None, "cookie|let us in"),
        (lambda line: answers(line, methods="NONSENSE"), None, "does not let us in"),
        (lambda line: None, None, "let us in|closed"),
        (lambda line: answers(line, added="550 Onion address collision"), None, "already; does another"),
        (lambda line: answers(line, added="512 Bad arguments to ADD_ONION"), None, "did not take"),
        (lambda line: answers(line, added="250 nonsense"), None, "did not take"),
        (lambda line: answers(line, service="a" * 56), None, "did not take"),
    ],
)
def test_what_goes_wrong_is_said_in_a_sentence(answer: Answers, password: str | None, said: str) -> None:
    with control_port(answer) as there, pytest.raises(ControlFailed, match=said) as raised:
        publish(Control("127.0.0.1", there.port, password=password), KEY, TARGET)
    words = str(raised.value)
    assert all(secret not in words for secret in (KEY.for_tor(), SERVICE, "wr0ng", str(there.port)))
    assert raised.value.__suppress_context__


def test_silence_and_garbage_are_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tor, "CONTROL_SECONDS", 0.1)
    kinds: list[Answers] = [
        lambda line: "" if "PROTOCOLINFO" in line else answers(line),
        lambda line: "" if "ADD_ONION" in line else answers(line),
        lambda line: "HTTP/1.1 400 Bad Request",
        lambda line: "\x00\xff",
        lambda line: "250-" + 9000 * "x",
    ]
    for kind in kinds:
        with control_port(kind) as there:
            with pytest.raises(ControlFailed, match=r"did not take|let us in|closed"):
                publish(Control("127.0.0.1", there.port), KEY, TARGET)


def test_nobody_is_there(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        for control in (Control("127.0.0.1", held.getsockname()[1]), Control(path=tmp_path / "control")):
            with pytest.raises(ControlFailed, match="control port does not answer"):
                publish(control, KEY, TARGET)


# Keeping it up, in virtual time.


class Scripted:
    """Publishing that fails with a reason or lasts for some seconds, then as the next of `plan` says."""

    def __init__(self, *plan: str | float) -> None:
        self._plan = list(plan)
        self.times: list[float] = []
        self.closed = 0

    def __call__(self) -> Published:
        self.times.append(trio.current_time())
        step = self._plan.pop(0)
        if isinstance(step, str):
            raise ControlFailed(step)
        return Alive(self, trio.current_time() + step)


class Alive:
    def __init__(self, home: Scripted, until: float) -> None:
        self._home = home
        self._until = until

    def is_alive(self) -> bool:
        return trio.current_time() < self._until

    def close(self) -> None:
        self._home.closed += 1


async def test_it_comes_back_when_tor_does_with_a_line_for_each(autojump_clock: MockClock) -> None:
    said: list[str] = []
    script = Scripted("not yet", "not yet", 100.0, "gone", "gone", "gone", "gone", "gone", "gone", 1e9)
    service = OnionService(script, said.append, run_inline)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        assert len(script.times) == 3
        await trio.sleep(1000)
        nursery.cancel_scope.cancel()
    assert said == [
        "the onion service is not up: not yet; tried again until it is",
        "the onion service is up again",
        "the onion service has gone with tor; it comes back when tor does",
        "the onion service is up again",
    ]
    waits = [after - before for before, after in zip(script.times, script.times[1:], strict=False)]
    assert waits[:2] == list(RETRY_SECONDS[:2])
    assert waits[3:] == [2.0, 5.0, 15.0, 60.0, 60.0, 60.0]
    assert script.closed == 2  # also the last one, when we end


async def test_it_is_started_only_once_it_is_up(autojump_clock: MockClock) -> None:
    said: list[str] = []
    service = OnionService(Scripted(*["no"] * 100), said.append, run_inline)
    with trio.move_on_after(600) as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(service.run)
    assert scope.cancelled_caught
    assert len(said) == 1
