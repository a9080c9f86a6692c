"""A real Chromium without a window, told what to do over two pipes (the DevTools protocol).

It is Debian's, where that is installed, and no Python package stands between: a message is JSON and a zero
byte. It looks nothing up and sends nothing anywhere, and its profile goes with it.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 120.0
_FLAGS = (
    *("--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-sandbox"),
    *(
        "--disable-dev-shm-usage",
        "--disable-extensions",
        "--no-proxy-server",
        "--force-device-scale-factor=1",
    ),
)
_IN_PLACE = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4);"
    " os.execv(sys.argv[3], sys.argv[3:])"
)
"""Chromium reads from descriptor 3 and writes to 4."""


def installed() -> str | None:
    """Where Chromium is, None if it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Chromium:
    """One browser with one page. `said` has what its console said, refusals by a policy among it."""

    def __init__(self, sending: int, receiving: int) -> None:
        self._sending = sending
        self._receiving = receiving
        self._buffer = b""
        self._number = 0
        self._session = ""
        self._loaded = 0
        self.said: list[str] = []

    def attach(self) -> None:
        """Open the page."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._sending, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer)
                return dict(answer["result"])

    def open(self, url: str) -> None:
        """Load the page, until it is whole."""
        before = self._loaded
        self.ask("Page.navigate", url=url)
        while self._loaded == before:
            self._next()

    def look(self, *, width: int, height: int = 800, dark: bool = False, script: bool = True) -> None:
        """From now on, show pages this wide, in dark colours or light, with their scripts or without."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Emulation.setScriptExecutionDisabled", value=not script)

    def evaluate(self, expression: str) -> Any:
        """What an expression is in the page; a promise is waited for."""
        result = self.ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def screenshot(self, *, whole: bool = True) -> bytes:
        """The page as a PNG, all of it or what is seen at first."""
        data = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        return base64.b64decode(data)

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE_SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._receiving], [], [], max(0.0, end - time.monotonic()))
            assert ready, "chromium does not answer"
            data = os.read(self._receiving, 1 << 20)
            assert data, "chromium has ended"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        kind, about = message.get("method"), message.get("params", {})
        self._loaded += kind == "Page.loadEventFired"
        if kind == "Log.entryAdded":
            self.said.append(about["entry"]["text"])
        elif kind in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.said.append(json.dumps(about))
        return message


@contextmanager
def chromium(profile: Path) -> Iterator[Chromium]:
    """A browser, which ends with the block."""
    program = installed()
    assert program is not None
    to_it, ours = _pipe()
    theirs, from_it = _pipe()[::-1]
    arguments = [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        [sys.executable, "-c", _IN_PLACE, str(to_it), str(theirs), *arguments],
        pass_fds=(to_it, theirs),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_it)
    os.close(theirs)
    try:
        browser = Chromium(ours, from_it)
        browser.attach()
        yield browser
    finally:
        os.close(ours)
        os.close(from_it)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _pipe() -> tuple[int, int]:
    """Both ends of a pipe, with numbers above those that Chromium wants."""
    ends = os.pipe()
    moved = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return moved[0], moved[1]
