"""`host --json`: replies that a program writes as lines on stdin.

A whisper that was shown stays on disk, and is shown again after a restart, until its line comes. Once stdin
has ended, no line can come: what is shown from then on is finished at once. "Shown" means written to stdout:
while stdout cannot be written, or nobody reads it any more, nothing is shown, so nothing is finished.
"""

from __future__ import annotations

import base64
import binascii
import json

import trio

from onionshh.cli.handling import Patience, Tally
from onionshh.cli.lines import LINE_BYTES, LineReader, Output, as_json
from onionshh.client.whisper import Whisper
from onionshh.errors import Error

HELD_MOST = 1024


class BadAnswer(Error):
    """A line that is not an answer; the message says why."""


def parse_answer(line: bytes) -> tuple[str, bytes | None]:
    """The id of the whisper, and the body of the reply; None to finish without one. BadAnswer."""
    value = _object(line, "An answer is an object with reply_to and body, or with done.")
    if set(value) == {"done"} and isinstance(value["done"], str):
        return value["done"], None
    whisper_id = value.pop("reply_to", None)
    body = _body(value)
    if body is None or not isinstance(whisper_id, str):
        raise BadAnswer('An answer is {"reply_to": id, "body": text}, or body_base64, or {"done": id}.')
    return whisper_id, body


def parse_body(line: bytes) -> bytes:
    """What is to be said. BadAnswer."""
    wanted = 'A line is {"body": text}, or {"body_base64": …}.'
    body = _body(_object(line, wanted))
    if body is None:
        raise BadAnswer(wanted)
    return body


def _object(line: bytes, wanted: str) -> dict[str, object]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadAnswer("This line is not valid JSON.") from error
    if not isinstance(value, dict):
        raise BadAnswer(wanted)
    return value


def _body(value: dict[str, object]) -> bytes | None:
    """The body in an object that has nothing else; None if it has none. BadAnswer."""
    text, coded = value.get("body"), value.get("body_base64")
    if set(value) == {"body"} and isinstance(text, str):
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            raise BadAnswer("The body is not valid UTF-8; send it as body_base64.") from error
    if set(value) == {"body_base64"} and isinstance(coded, str):
        try:
            return base64.b64decode(coded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadAnswer("body_base64 is not valid base64.") from error
    return None


class Answers:
    """The whispers that wait for their line, at most 1 024."""

    def __init__(self, reader: LineReader, output: Output, patience: Patience, tally: Tally) -> None:
        self._reader = reader
        self._output = output
        self._patience = patience
        self._tally = tally
        self._held: dict[str, Whisper] = {}
        self._changed = trio.Event()

    def look(self) -> None:
        """Notice an end of stdin that is there already."""
        self._reader.look()

    def hold(self, whisper: Whisper) -> None:
        """Hold a whisper that is about to be shown: its line may come at once."""
        self._held[whisper.id] = whisper

    async def shown(self, whisper: Whisper) -> None:
        """A whisper was shown. If stdin has ended, it is finished now."""
        if self._reader.ended and whisper.id in self._held:
            await self._finish(whisper, None)

    async def room(self) -> None:
        """Wait until one more can be held."""
        while len(self._held) >= HELD_MOST:
            await self._changed.wait()

    async def run(self) -> None:
        """Read lines until stdin ends."""
        while (line := await self._reader.next()) is not None:
            try:
                if not isinstance(line, bytes):
                    raise BadAnswer(f"A line is at most {LINE_BYTES} bytes.")
                if line.strip():
                    await self._answer(*parse_answer(line))
            except Error as error:
                self._output.say(as_json({"error": str(error)}))

    async def _answer(self, whisper_id: str, body: bytes | None) -> None:
        whisper = self._held.get(whisper_id)
        if whisper is None:
            raise BadAnswer(f"No whisper {whisper_id[:64]!r} waits for an answer.")
        await self._finish(whisper, body)

    async def _finish(self, whisper: Whisper, body: bytes | None) -> None:
        await self._patience(whisper.done if body is None else lambda: whisper.reply(body))
        self._tally.finished += 1
        self._held.pop(whisper.id, None)
        changed, self._changed = self._changed, trio.Event()
        changed.set()
