"""How many sessions may begin in a meeting: 16 an hour (SPEC 14). Posts beyond that wait."""

from __future__ import annotations

from typing import Final

from onionshh.core.base.buckets import TokenBucket

OTHERS_AN_HOUR: Final = 16


class Turns:
    """The last 16 posts that wait are kept."""

    def __init__(self) -> None:
        self._bucket = TokenBucket(OTHERS_AN_HOUR / 3600, OTHERS_AN_HOUR)
        self._waiting: dict[bytes, bytes] = {}
        self._last = b""

    def take(self, body: bytes, now: float) -> bool:
        """Whether this post may begin a session, at `now` in monotonic seconds. Tried again, it may."""
        if self._last != body and not self._bucket.take(now):
            return False
        self._last = body
        return True

    def put_off(self, instance: bytes, body: bytes) -> None:
        """This post waits."""
        self._waiting.pop(instance, None)
        self._waiting[instance] = body
        while len(self._waiting) > OTHERS_AN_HOUR:
            del self._waiting[next(iter(self._waiting))]

    def next(self) -> bytes | None:
        """The post that came last of those that wait. It does not wait any more."""
        return self._waiting.pop(next(reversed(self._waiting))) if self._waiting else None

    def seconds_until(self, now: float) -> float:
        """Until the next turn."""
        return self._bucket.seconds_until(now)
