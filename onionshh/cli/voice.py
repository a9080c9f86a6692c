"""What `host` says: lines for people, or JSON objects for a program."""

from __future__ import annotations

from typing import Protocol

import trio

from onionshh.cli.lines import JsonLines, as_text
from onionshh.cli.talk import tell
from onionshh.cli.text import printable
from onionshh.client.endpoint import Whisper


class Voice(Protocol):
    """One method an event."""

    async def address(self, address: str) -> None: ...

    async def reachable(self, introducers: int, seconds: float) -> None: ...

    async def unreachable(self, why: str) -> None: ...

    async def whisper(self, whisper: Whisper) -> None: ...


class JsonVoice:
    """The events of `host --json`; `onionshh host --help` names them."""

    def __init__(self, output: JsonLines) -> None:
        self._output = output

    async def address(self, address: str) -> None:
        await self._output.write({"event": "address", "address": address})

    async def reachable(self, introducers: int, seconds: float) -> None:
        await self._output.write({"event": "reachable", "introducers": introducers, "seconds": seconds})

    async def unreachable(self, why: str) -> None:
        await self._output.write({"event": "unreachable", "why": why})

    async def whisper(self, whisper: Whisper) -> None:
        received = round(whisper.received_at, 3)
        event: dict[str, object] = {"event": "whisper", "id": whisper.id, "received_at": received}
        await self._output.write(event | as_text("body", whisper.body))


class PeopleVoice:
    """`bodies`: whether whispers are shown whole, or only that one came."""

    def __init__(self, *, bodies: bool) -> None:
        self._bodies = bodies

    async def address(self, address: str) -> None:
        tell(f"endpoint {address}")
        await trio.lowlevel.checkpoint()

    async def reachable(self, introducers: int, seconds: float) -> None:
        tell(f"reachable through {introducers} introducers, after {seconds:.1f} s")
        await trio.lowlevel.checkpoint()

    async def unreachable(self, why: str) -> None:
        tell(f"not reachable: {why}")
        await trio.lowlevel.checkpoint()

    async def whisper(self, whisper: Whisper) -> None:
        tell(f"whisper of {len(whisper.body)} bytes")
        if self._bodies:
            print(printable(whisper.body), flush=True)
        await trio.lowlevel.checkpoint()
