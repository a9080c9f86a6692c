"""Where whispers, and the answers to them, outlive the moment: what a driver of a Sender needs of it.

A contact without a name keeps nothing on disk, and then only keys are remembered (`InMemoryOutbox`). Whatever
goes on after a restart has its rows in `outbox_store.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from onionshh.client.receipt import Status
from onionshh.core.delivery.record import Record
from onionshh.crypto.primitives import kdf
from onionshh.ids import WhisperId

KEY_MOST: Final = 64
KEYS_MOST: Final = 16_384
"""Keys remembered without a disk; as many as receipts."""
MARK: Final = 16


@dataclass(frozen=True, slots=True)
class Stored:
    """One whisper in an outbox. `status`: None until it is final. `record`: without its body once the status
    is final."""

    record: Record
    status: Status | None = None
    why: str = ""
    answer: Record | None = None


class Outbox(Protocol):
    """The outbox for one peer."""

    @property
    def lasts(self) -> bool:
        """Whether anything is kept outside of the Sender at all."""

    def accept(self, record: Record, key: bytes | None) -> None:
        """Take on a whisper. It is on disk when this returns. BadData, Closed."""

    def with_key(self, key: bytes) -> tuple[WhisperId, bytes] | None:
        """The whisper that was accepted with this key, and its `mark_of`. BadData, Closed."""

    def find(self, whisper: WhisperId) -> Stored | None:
        """A whisper of this or an earlier run. BadData, Closed."""

    def settled(self, whisper: WhisperId, status: Status, why: str) -> None:
        """Note a final status, and erase the body, soon."""

    async def keep_answer(self, answer: Record) -> None:
        """Write an answer to disk. BadData, Closed."""

    def shown(self, answer: WhisperId) -> None:
        """Note soon that the program has this answer."""


class InMemoryOutbox:
    """For a sender that leaves nothing on disk: it knows the keys of this run."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, tuple[WhisperId, bytes]] = {}

    @property
    def lasts(self) -> bool:
        """Never."""
        return False

    def accept(self, record: Record, key: bytes | None) -> None:
        """Remember its key. The oldest is forgotten when there are too many."""
        if key is not None:
            self._by_key[key] = record.whisper_id, mark_of(record.whisper_id, record.body)
            while len(self._by_key) > KEYS_MOST:
                del self._by_key[next(iter(self._by_key))]

    def with_key(self, key: bytes) -> tuple[WhisperId, bytes] | None:
        """As `Outbox.with_key`."""
        return self._by_key.get(key)

    def find(self, whisper: WhisperId) -> Stored | None:
        """None: the driver knows all that is known."""
        return None

    def settled(self, whisper: WhisperId, status: Status, why: str) -> None:
        """Nothing is on disk."""

    async def keep_answer(self, answer: Record) -> None:
        """Never called: without a disk, answers are not kept."""

    def shown(self, answer: WhisperId) -> None:
        """Nothing is on disk."""


def mark_of(whisper: WhisperId, body: bytes) -> bytes:
    """What is compared when a key is used again. It stays when the body is erased: whoever reads the file can
    check a guess of the body, but derives no key from it."""
    return kdf("same body", whisper, body, length=MARK)
