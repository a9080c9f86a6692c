"""Delivered whispers whose answers nobody awaits now, but may await later. Pure.

A whisper's body is kept for a while, so that it can go out again when the program asks for its answer. Its id
is kept longer, so that a late answer still reaches the program that holds the receipt. What was answered is
kept for a short while: its answer may come once more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from onionshh.core.delivery.outgoing import Body, OutgoingWhisper
from onionshh.ids import WhisperId

WHOLE_MOST: Final = 1024
WHOLE_BYTES: Final = 1024 * 1024
KNOWN_MOST: Final = 8192
ANSWERED_MOST: Final = 1024


class Kept:
    """Oldest first. Answered ones keep no body."""

    def __init__(self) -> None:
        self._whispers: dict[WhisperId, OutgoingWhisper] = {}
        self._whole: dict[WhisperId, None] = {}
        self._whole_bytes = 0
        self._answered: dict[WhisperId, None] = {}

    def get(self, whisper_id: WhisperId) -> OutgoingWhisper | None:
        """The whisper with this id."""
        return self._whispers.get(whisper_id)

    def put(self, whisper_id: WhisperId, whisper: OutgoingWhisper) -> None:
        """Add a whisper, or note that it was answered by now."""
        self._whispers[whisper_id] = whisper
        if whisper.question.answered:
            self._forget_body(whisper_id)
            self._answered[whisper_id] = None
        elif whisper.whole and whisper_id not in self._whole:
            self._whole[whisper_id] = None
            self._whole_bytes += len(whisper.record.body)
        while len(self._whole) > WHOLE_MOST or self._whole_bytes > WHOLE_BYTES:
            self._forget_body(next(iter(self._whole)))
        while len(self._answered) > ANSWERED_MOST:
            self._drop(next(iter(self._answered)))
        while len(self._whispers) > KNOWN_MOST:
            self._drop(next(iter(self._whispers)))

    def take(self, whisper_id: WhisperId) -> OutgoingWhisper | None:
        """Give up a whisper whose answer is awaited again; it is kept elsewhere from now on."""
        whisper = self._whispers.pop(whisper_id, None)
        self._answered.pop(whisper_id, None)
        if whisper is not None and whisper_id in self._whole:
            del self._whole[whisper_id]
            self._whole_bytes -= len(whisper.record.body)
        return whisper

    def _drop(self, whisper_id: WhisperId) -> None:
        self._forget_body(whisper_id)
        self._answered.pop(whisper_id, None)
        del self._whispers[whisper_id]

    def _forget_body(self, whisper_id: WhisperId) -> None:
        whisper = self._whispers[whisper_id]
        if whisper_id in self._whole:
            del self._whole[whisper_id]
            self._whole_bytes -= len(whisper.record.body)
        whisper.body = Body.FORGOTTEN
        whisper.record = replace(whisper.record, body=b"")
