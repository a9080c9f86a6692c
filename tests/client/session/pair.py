"""Both sides of sessions, and a disk that can fail."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import trio

from onionshh.client.session.keeper import SessionRow
from onionshh.core.session.document import from_document_untrusted, to_document
from onionshh.core.session.session import Session, SessionId
from onionshh.errors import BadData
from tests.client.world import WALL


def both(number: int = 1, used_at: int = WALL) -> tuple[Session, Session]:
    """The session of an introduction, as its visitor and its endpoint have it."""
    root = number.to_bytes(32)
    sides = [Session.started(root, introduced=side, period=1, wall=used_at) for side in (True, False)]
    return sides[0], sides[1]


class Rows:
    """A disk with a row for each session. While it is `full`, it takes nothing."""

    def __init__(self, *sessions: Session) -> None:
        self.documents = {session.session_id: to_document(session) for session in sessions}
        self.full = False

    def on_disk(self, session_id: SessionId) -> Session:
        return from_document_untrusted(self.documents[session_id])

    async def load(self) -> list[Session]:
        return [from_document_untrusted(document) for document in self.documents.values()]

    async def save(self, session: Session) -> None:
        document = to_document(session)
        await trio.lowlevel.checkpoint()
        if self.full:
            raise BadData("the disk is full")
        self.documents[session.session_id] = document

    def forget_soon(self, session_ids: Iterable[SessionId]) -> None:
        for session_id in session_ids:
            self.documents.pop(session_id, None)

    def save_soon(self, session: Session) -> None:
        self.documents[session.session_id] = to_document(session)

    def rows(self, sessions: Iterable[Session]) -> list[SessionRow]:
        return [(one.session_id, to_document(one), one.history.used_at) for one in sessions]

    def write(self, connection: sqlite3.Connection, rows: Iterable[SessionRow]) -> None:
        for session_id, document, _ in rows:
            self.documents[session_id] = document
