"""What `host` says: lines for people, or JSON objects for a program.

For events, nobody waits until they are written. A whisper that this output must handle goes to `show`, which
returns when the whisper is written, however long that takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import trio

from onionshh.cli.lines import Output, as_json, as_text
from onionshh.cli.statistics import HostStatistics, Statistics
from onionshh.cli.talk import counted, encoded, remark, stamped
from onionshh.cli.text import printable
from onionshh.client.incoming import IncomingTransfer
from onionshh.client.whisper import Whisper
from onionshh.crypto.uiv import CIPHER

TOGETHER_SECONDS = 10.0
"""Whispers that come within this time after a reported one are reported together."""


class Voice(Protocol):
    """One method per event."""

    async def run(self) -> None: ...

    def address(self, address: str) -> None: ...

    def reachable(self, introducers: int, seconds: float) -> None: ...

    def introducers(self, introducers: int) -> None: ...

    def unreachable(self, why: str) -> None: ...

    def statistics(self, record: HostStatistics) -> None: ...

    def came(self, whisper: Whisper) -> None: ...

    async def show(self, whisper: Whisper) -> None: ...

    def received(self, incoming: IncomingTransfer, path: Path | None) -> None: ...


class JsonVoice:
    """The events of `host --json`; `onionshh host --help` names them."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._numbers = Statistics("host")

    async def run(self) -> None:
        await self._output.run()

    def address(self, address: str) -> None:
        self._say({"event": "address", "address": address})

    def reachable(self, introducers: int, seconds: float) -> None:
        self._say({"event": "reachable", "introducers": introducers, "seconds": seconds})

    def introducers(self, introducers: int) -> None:
        self._say({"event": "introducers", "introducers": introducers})

    def unreachable(self, why: str) -> None:
        self._say({"event": "unreachable", "why": why})

    def statistics(self, record: HostStatistics) -> None:
        _say_what_was_asked(self._output, self._numbers.line(record, event="statistics", cipher=CIPHER.name))

    def came(self, whisper: Whisper) -> None:
        self._output.say(_event(whisper))

    async def show(self, whisper: Whisper) -> None:
        await self._output.show(_event(whisper))

    def received(self, incoming: IncomingTransfer, path: Path | None) -> None:
        """A transfer is in this file. None: it did not come whole."""
        event: dict[str, object] = {"event": "transfer", "id": incoming.id, "size": incoming.size}
        if path is None:
            self._say(event | {"failed": incoming.failed})
        else:
            self._say(event | {"received_at": incoming.received_at, "file": str(path)})

    def _say(self, event: dict[str, object]) -> None:
        self._output.say(as_json(event))


def _event(whisper: Whisper) -> bytes:
    received = round(whisper.received_at, 3)
    peer = whisper.peer
    event: dict[str, object] = {
        "event": "whisper",
        "id": whisper.id,
        "received_at": received,
        "peer": None if peer is None else peer.id,
        "sender": whisper.sender,
        "waited": whisper.waited,
    }
    return as_json(event | as_text("body", whisper.body))


def _from(whisper: Whisper) -> str:
    return "" if whisper.sender is None else f" from {whisper.sender}"


def _say_what_was_asked(output: Output, line: str) -> None:
    """Write what was asked for on stdout, and on stderr too while stdout cannot be written."""
    output.say(encoded(f"{line}\n"))
    if output.stuck:
        remark(line)


class PeopleVoice:
    """Shows whispers whole, or says only that they came, many in one line."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._numbers = Statistics("host")
        self._told = False
        """Whether a line about whispers was written a moment ago."""
        self._more = self._more_bytes = 0
        """Whispers that came since."""

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._output.run)
            while True:
                await trio.sleep(TOGETHER_SECONDS)
                self._told = self._more > 0
                if self._more == 1:
                    self._say(f"whisper of {self._more_bytes} bytes")
                elif self._more:
                    self._say(f"{self._more} whispers, {self._more_bytes} bytes")
                self._more = self._more_bytes = 0

    def address(self, address: str) -> None:
        self._say(f"endpoint {address}")

    def reachable(self, introducers: int, seconds: float) -> None:
        self._say(f"reachable through {counted(introducers, 'introducer')}, after {seconds:.1f} s")

    def introducers(self, introducers: int) -> None:
        self._say(f"reachable through {counted(introducers, 'introducer')} now")

    def unreachable(self, why: str) -> None:
        self._say(f"not reachable: {why}")

    def statistics(self, record: HostStatistics) -> None:
        _say_what_was_asked(self._output, self._numbers.line(record))

    def came(self, whisper: Whisper) -> None:
        if self._told:
            self._more += 1
            self._more_bytes += len(whisper.body)
        else:
            self._told = True
            self._say(f"whisper of {len(whisper.body)} bytes{_from(whisper)}")

    async def show(self, whisper: Whisper) -> None:
        head = stamped(f"whisper of {len(whisper.body)} bytes{_from(whisper)}")
        # Each line of the body begins with a mark, so that none can pass for a line of ours.
        body = "".join(f"\n  | {line}" for line in printable(whisper.body).split("\n"))
        await self._output.show(encoded(f"{head}{body}\n"))

    def received(self, incoming: IncomingTransfer, path: Path | None) -> None:
        """A transfer is in this file. None: it did not come whole."""
        if path is None:
            self._say(f"a transfer did not come whole, {incoming.size} bytes of it came: {incoming.failed}")
        else:
            self._say(f"transfer of {counted(incoming.size, 'byte')}: {path}")

    def _say(self, line: str) -> None:
        self._output.say(encoded(f"{stamped(line)}\n"))
