"""How long an item lies in a mailbox: the whisper's time to live, rounded up (SPEC 14). Pure.

Relays see when an item expires. A rare time to live would tell the items of one program apart, so there are
only seven. What is inside keeps its own date, and is refused after it.
"""

from __future__ import annotations

from typing import Final

from onionshh.wire.consensus import MOST_RANDOM

LIVES_SECONDS: Final = (600, 1800, 3600, 3 * 3600, 86_400, 3 * 86_400, 7 * 86_400)
RANDOM_SECONDS: Final = 7 * 86_400
"""How long a consensus has the random value of a period that is over (SPEC 10)."""


def rounded_life(seconds: float) -> int:
    """The shortest of the seven lives that is not shorter than this, or the longest."""
    return next((life for life in LIVES_SECONDS if life >= seconds), LIVES_SECONDS[-1])


def item_expiry(expires: int, wall: int, period: int, period_seconds: int) -> int:
    """When an item in a mailbox of this period expires, Unix seconds. `expires`: when the whisper does.
    `wall`: the present time.

    After the random value of the period has left the consensus, nobody finds the mailbox any more, so no item
    outlives it.
    """
    return min(wall + rounded_life(expires - wall), last_expiry(period, period_seconds))


def last_expiry(period: int, period_seconds: int) -> int:
    """The latest end of an item in a mailbox of this period, Unix seconds."""
    before = min(-(-RANDOM_SECONDS // period_seconds), MOST_RANDOM - 2)
    return (period + before + 1) * period_seconds
