"""One contact's whispers: the unfinished ones, and the finished ones that a reply may still come for."""

from __future__ import annotations

from collections.abc import Callable

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

    def __len__(self) -> int:
        """At least how many are unfinished; some may have finished since `unfinished` was asked."""
        return len(self._unfinished)

    def add(self, receipt: Receipt) -> None:
        """One more whisper."""
        self._unfinished[receipt.record.whisper_id] = receipt

    def get(self, whisper_id: WhisperId) -> Receipt | None:
        """The whisper of this id, finished or not."""
        return self._unfinished.get(whisper_id) or self._finished.get(whisper_id)

    def unfinished(self) -> list[Receipt]:
        """All that are still to be delivered, or whose reply is awaited, oldest first."""
        for receipt in [one for one in self._unfinished.values() if not self.is_unfinished(one)]:
            del self._unfinished[receipt.record.whisper_id]
            self._keep(receipt)
        return list(self._unfinished.values())

    def is_unfinished(self, receipt: Receipt) -> bool:
        """Whether it is still to be delivered, or its reply awaited."""
        if receipt.status == "delivered":
            # Past its expiry the endpoint refuses even a copy, so a lost circuit cannot be made good.
            askable = self._now() < receipt.deadline + REPLY_GRACE_SECONDS
            return receipt.reply_wanted > 0 and receipt.reply_body is None and askable
        return not receipt.is_final

    def reopen(self, receipt: Receipt) -> None:
        """Its reply is awaited from now on."""
        if self._finished.pop(receipt.record.whisper_id, None) is not None:
            self._finished_bytes -= len(receipt.record.body)
            self._unfinished[receipt.record.whisper_id] = receipt

    def _keep(self, receipt: Receipt) -> None:
        self._finished[receipt.record.whisper_id] = receipt
        self._finished_bytes += len(receipt.record.body)
        while len(self._finished) > KEPT_MOST or self._finished_bytes > KEPT_BYTES:
            oldest = self._finished.pop(next(iter(self._finished)))
            self._finished_bytes -= len(oldest.record.body)
            oldest.forget_body()
