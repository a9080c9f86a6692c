"""Publishes a relay's onion service through the control port of C tor, by stem.

The service lives as long as our control connection. So nothing of it is left when this process ends, and when
tor restarts, we publish it again, under the same key. stem blocks and has threads of its own: all calls to it
are made in a worker thread, and the event loop only looks now and then whether the connection still stands.
Only this file may use stem, which need not be installed.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import stem
import stem.connection
import stem.control
import stem.socket
import trio

from onionshh.net.conditions import Condition
from onionshh.net.onion import PORT, OnionKey
from onionshh.net.port_owner import strangers
from onionshh.net.store import RunBlocking

T = TypeVar("T")

PASSWORD_VARIABLE: Final = "ONIONSHH_TOR_PASSWORD"
UPLOAD_SECONDS: Final = 60.0
"""How long we wait for tor to tell others where the service is. If it says nothing, we go on."""
CONTROL_SECONDS: Final = UPLOAD_SECONDS + 30.0
"""How long all of it may take. Then the connection is closed, which ends whatever waits for it."""
CONNECT_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 2.0
RETRY_SECONDS: Final = (1.0, 2.0, 5.0, 15.0, 60.0)


class ControlFailed(Exception):
    """The control port did not do what we asked. The text says why, without a password or a key."""


@dataclass(frozen=True, slots=True)
class Control:
    """Where tor's control port is: `path` of a socket, or else an IPv4 address and a port."""

    host: str = ""
    port: int = 0
    path: Path | None = None
    password: str | None = field(default=None, repr=False)


class Published(Protocol):
    """An onion service that tor has taken."""

    def is_alive(self) -> bool:
        """Whether our connection to tor, and with it the service, still stands."""

    def close(self) -> None:
        """Take the service back. May block for a moment."""


def publish(control: Control, key: OnionKey, target: tuple[str, int]) -> Published:
    """Ask tor to pass connections to the service on to `target`. Blocks for `CONTROL_SECONDS` at most. Raises
    ControlFailed."""
    # At its lowest levels stem logs what it sends, and that is our key.
    logging.getLogger("stem").setLevel(logging.CRITICAL)
    connection = _connected(control)
    controller = stem.control.Controller(connection)
    overdue = threading.Timer(CONTROL_SECONDS, connection.cut)
    overdue.daemon = True
    overdue.start()
    try:
        controller.authenticate(password=control.password)
        made = controller.create_ephemeral_hidden_service(
            {PORT: f"{target[0]}:{target[1]}"},
            key_type="ED25519-V3",
            key_content=key.for_tor(),
            await_publication=True,
            timeout=UPLOAD_SECONDS,
        )
        if f"{made.service_id}.onion" != key.host:
            raise stem.ProtocolError("this is another service")
    except stem.Timeout:
        pass  # tor has the service; others will find it when it has told them
    except Exception as error:  # stem parses what a stranger may have sent, and does not promise its errors
        connection.cut()
        controller.close()
        raise ControlFailed(_in_words(error)) from None
    finally:
        overdue.cancel()
    return _ByController(controller, connection)


class _ByController:
    def __init__(self, controller: Any, cuttable: _Socket) -> None:
        self._controller = controller
        self._cuttable = cuttable

    def is_alive(self) -> bool:
        return bool(self._controller.is_alive())

    def close(self) -> None:
        self._cuttable.cut()
        self._controller.close()


class _AnothersPort(stem.SocketError):  # type: ignore[misc]
    """A person's program has the port, and tor runs as a user of the system or as ourselves."""


class _Socket(stem.socket.ControlSocket):  # type: ignore[misc]
    """A control connection that can be cut: stem's own `close` waits until nobody reads any more."""

    def __init__(self, control: Control) -> None:
        super().__init__()
        self._control = control
        self._raw: socket.socket | None = None
        self.connect()

    def is_localhost(self) -> bool:
        return True

    def cut(self) -> None:
        """End whatever waits for tor."""
        if self._raw is not None:
            with contextlib.suppress(OSError):
                self._raw.shutdown(socket.SHUT_RDWR)

    def _make_socket(self) -> socket.socket:  # how stem's own kinds differ, too
        if self._raw is not None:  # stem would try once more, with nobody to see to the time
            raise stem.SocketClosed("the connection is closed")
        path = self._control.path
        raw = socket.socket(socket.AF_INET if path is None else socket.AF_UNIX)
        raw.settimeout(CONNECT_SECONDS)
        try:
            raw.connect((self._control.host, self._control.port) if path is None else str(path))
        except OSError as error:
            raw.close()
            raise stem.SocketError(error) from None
        if path is None and strangers(raw.getpeername(), raw.getsockname()):
            raw.close()
            raise _AnothersPort
        raw.settimeout(None)
        self._raw = raw
        return raw


def _connected(control: Control) -> _Socket:
    try:
        return _Socket(control)
    except _AnothersPort:
        said = (
            "the program at tor's control port belongs to another user of this machine; use tor's socket"
            " (ControlSocket in torrc, and its path here)"
        )
        raise ControlFailed(said) from None
    except stem.SocketError:
        said = "tor's control port does not answer; is ControlPort set, and does tor run?"
        raise ControlFailed(said) from None


def _in_words(error: Exception) -> str:
    """One sentence without what either side sent: that may be a key."""
    match error:
        case stem.connection.MissingPassword():
            return f"tor's control port wants a password: put it into {PASSWORD_VARIABLE}"
        case stem.connection.PasswordAuthFailed():
            return f"tor's control port does not take the password in {PASSWORD_VARIABLE}"
        case stem.connection.UnreadableCookieFile():
            return "the cookie of tor's control port cannot be read; add this user to tor's group"
        case stem.connection.AuthenticationFailure():
            return "tor's control port does not let us in"
        case stem.SocketClosed():
            return "tor's control port closed the connection, or did not answer in time"
        case stem.ControllerError() if "collision" in str(error):
            return "tor has this onion service already; does another process run with this data folder?"
    return "tor's control port did not take the onion service"


async def run_in_thread_or_leave(function: Callable[[], T], /) -> T:
    """In a thread. A cancellation does not wait for it: the end of this process ends the service, too."""
    return await trio.to_thread.run_sync(function, abandon_on_cancel=True)


class OnionService:
    """Keeps an onion service up, until cancelled. `publish` blocks; `say` gets a line when the service goes,
    and one when it is back."""

    def __init__(
        self,
        publish: Callable[[], Published],
        say: Callable[[str], None],
        run_blocking: RunBlocking = run_in_thread_or_leave,
    ) -> None:
        self._publish = publish
        self._run_blocking = run_blocking
        self._trouble = Condition(say)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Publish, and publish again whenever tor has gone. Started when the service is up the first time."""
        tries, started = 0, False
        while True:
            try:
                published = await self._run_blocking(self._publish)
            except ControlFailed as error:
                self._trouble.holds(f"the onion service is not up: {error}; tried again until it is")
            else:
                self._trouble.over("the onion service is up again")
                if not started:
                    started = True
                    task_status.started()
                await self._while_alive(published)
                self._trouble.holds("the onion service has gone with tor; it comes back when tor does")
                tries = 0
            await trio.sleep(RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)])
            tries += 1

    async def _while_alive(self, published: Published) -> None:
        try:
            while published.is_alive():
                await trio.sleep(LOOK_SECONDS)
        finally:
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._run_blocking(published.close)
