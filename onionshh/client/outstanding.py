"""One contact's whispers: the unfinished ones, and the finished ones that a reply may still come for."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakValueDictionary

from onionshh.client.receipt import Receipt
from onionshh.core.whisper import EXPIRY_GRACE_SECONDS
from onionshh.ids import WhisperId

KEPT_MOST = 1024
KEPT_BYTES = 1024 * 1024
REPLY_GRACE_SECONDS = EXPIRY_GRACE_SECONDS / 2


class Outstanding:
    """`now`: monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._unfinished: dict[WhisperId, Receipt] = {}
        self._finished: dict[WhisperId, Receipt] = {}
        self._finished_bytes = 0
        self._forgotten: WeakValueDictionary[WhisperId, Receipt] = WeakValueDictionary()
        """Without their bodies, as long as the program holds them: a reply may still come."""
        self._awaited: dict[WhisperId, Receipt] = {}

    def __len__(self) -> int:
        """At least how many are unfinished; some may have finished since `unfinished` was asked."""
        return len(self._unfinished)

    def add(self, receipt: Receipt) -> None:
        """One more whisper."""
        self._unfinished[receipt.record.whisper_id] = receipt

    def get(self, whisper_id: WhisperId) -> Receipt | None:
        """The whisper of this id, finished or not."""
        return (
            self._unfinished.get(whisper_id)
            or self._finished.get(whisper_id)
            or self._forgotten.get(whisper_id)
        )

    def unfinished(self) -> list[Receipt]:
        """All that are still to be delivered, or whose reply is awaited, oldest first."""
        for receipt in [one for one in self._unfinished.values() if not self.is_unfinished(one)]:
            del self._unfinished[receipt.record.whisper_id]
            self._keep(receipt)
        return list(self._unfinished.values())

    def is_unfinished(self, receipt: Receipt) -> bool:
        """Whether it is still to be delivered, or its reply awaited."""
        if receipt.status == "delivered":
            return self._awaits(receipt) and self.is_askable(receipt)
        return not receipt.is_final

    def is_askable(self, receipt: Receipt) -> bool:
        """Whether it may be sent again for its reply. Past its expiry the endpoint refuses even a copy."""
        return not receipt.forgotten and self._now() < askable_until(receipt)

    def awaited(self) -> list[Receipt]:
        """All that were delivered and whose reply is awaited, askable or not."""
        for whisper_id in [key for key, one in self._awaited.items() if not self._awaits(one)]:
            del self._awaited[whisper_id]
        return [one for one in self._awaited.values() if one.status == "delivered"]

    def answered(self, receipt: Receipt) -> None:
        """Its reply came: nothing more is to be kept of it but for who holds it."""
        whisper_id = receipt.record.whisper_id
        self._awaited.pop(whisper_id, None)
        if self._finished.pop(whisper_id, None) is not None:
            self._finished_bytes -= len(receipt.record.body)
            self._forget(receipt)

    def reopen(self, receipt: Receipt) -> None:
        """Its reply is awaited from now on."""
        self._awaited[receipt.record.whisper_id] = receipt
        if self._finished.pop(receipt.record.whisper_id, None) is not None:
            self._finished_bytes -= len(receipt.record.body)
            self._unfinished[receipt.record.whisper_id] = receipt

    def _awaits(self, receipt: Receipt) -> bool:
        return receipt.reply_wanted > 0 and receipt.reply_body is None

    def _forget(self, receipt: Receipt) -> None:
        receipt.forget_body()
        self._forgotten[receipt.record.whisper_id] = receipt

    def _keep(self, receipt: Receipt) -> None:
        if receipt.reply_body is not None:
            self._forget(receipt)
            return
        self._finished[receipt.record.whisper_id] = receipt
        self._finished_bytes += len(receipt.record.body)
        while len(self._finished) > KEPT_MOST or self._finished_bytes > KEPT_BYTES:
            oldest = self._finished.pop(next(iter(self._finished)))
            self._finished_bytes -= len(oldest.record.body)
            self._forget(oldest)


def askable_until(receipt: Receipt) -> float:
    """Monotonic seconds."""
    return receipt.deadline + REPLY_GRACE_SECONDS
