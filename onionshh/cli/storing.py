"""How long `onionshh whisper` tries, and how far it is with a whisper that relays are to keep.

A whisper that is not to be stored is tried for `--wait`. One that may be stored is tried longer, as long as
this gets on: relays are found, this machine works, one relay after the other takes a copy. Once it is stored,
the command waits a while for the other copies, so that a person sees them. The whisper is safe by then.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import ceil, inf
from typing import Final

from onionshh.cli.talk import counted
from onionshh.client.receipt import COPIES_WANTED, Receipt
from onionshh.core.delivery.lettering import LEAST_SECONDS
from onionshh.core.mailbox.dates import rounded_life
from onionshh.core.mailbox.letter import parts_of
from onionshh.core.mailbox.price import price
from onionshh.geometry import RECORD_HEADER, record_size
from onionshh.wire.mailbox import INBOX

GETS_ON_SECONDS: Final = 120.0
"""How long nothing may be seen of it. At first that is half a minute of live tries and the search for the
endpoint's last descriptor. Later it is a relay that does not answer, and the next."""
COPIES_SECONDS: Final = 60.0
"""How long the other copies are waited for once a whisper is stored."""


def can_be_stored(ttl_seconds: float) -> bool:
    """Whether a whisper with this TTL is left with relays while its endpoint is away."""
    return ttl_seconds > LEAST_SECONDS


def usual_tries(body_bytes: int, ttl_seconds: float) -> int:
    """How many tries the proof of work for such a whisper takes on average, while its relays have room."""
    parts = parts_of(RECORD_HEADER + record_size(body_bytes))
    life = rounded_life(ceil(ttl_seconds))
    return parts * price(INBOX, life, 0, relay_used=0, relay_most=1, mailbox_used=0)


def drawn(receipt: Receipt, usual: int) -> tuple[float, str] | None:
    """How far it is, 0 to 1, and in words. None while there is nothing to show. `usual`: as many tries as the
    work takes on average."""
    copies, wanted = receipt.copies
    if copies:
        return copies / wanted, f"{copies} of {wanted} copies"
    if receipt.proof_tries:
        said = f"proof of work: {receipt.proof_seconds:.0f} s, {receipt.proof_tries} tries"
        return min(1.0, receipt.proof_tries / max(1, usual)), said
    return None


def waiting_in_words(waiting: int, copies: Collection[int]) -> str:
    """`3 whispers in the outbox, 2 of them stored (3 to 4 of 4 copies)`. `copies`: of each stored one."""
    said = f"{counted(waiting, 'whisper')} in the outbox"
    if not copies:
        return said
    least, most = min(copies), max(copies)
    each = f"{least}" if least == most else f"{least} to {most}"
    some = "" if len(copies) == waiting else f"{len(copies)} of them "
    return f"{said}, {some}stored ({each} of {COPIES_WANTED} copies)"


def waits_for_copies(receipt: Receipt) -> bool:
    """Whether a whisper that asks for no receipt, and so is `sent` once it is stored, may get more copies."""
    return receipt.status == "sent" and receipt.is_final and 0 < receipt.copies[0] < COPIES_WANTED


def is_being_stored(receipt: Receipt) -> bool:
    """Whether there is some work or a copy, and not enough so far."""
    begun = receipt.proof_tries > 0 or receipt.copies[0] > 0
    return begun and not receipt.is_final and receipt.status != "stored" and not receipt.why_not_stored


@dataclass(slots=True)
class Patience:
    """Until when one whisper is tried, in trio's time. `end`: when `--wait` is over. `usual`: how many tries
    its proof of work takes on average; 0: it is not to be stored."""

    end: float
    usual: int = 0
    _seen: tuple[int, int] | None = None
    _limit: float = -inf
    _stored_at: float | None = None

    def until(self, receipt: Receipt, now: float) -> float:
        """Until when to go on, by what the receipt shows now."""
        if not self.usual:
            return self.end
        if receipt.status == "stored" or waits_for_copies(receipt):
            if receipt.copies[0] >= COPIES_WANTED:
                return now
            if self._stored_at is None:
                self._stored_at = now
            return self._stored_at + COPIES_SECONDS
        if receipt.why_not_stored:
            return self.end
        seen = receipt.proof_tries, receipt.copies[0]
        if seen != self._seen:
            self._seen, self._limit = seen, now + GETS_ON_SECONDS
        return max(self.end, self._limit)
