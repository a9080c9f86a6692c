"""Types for the byte strings that the layers pass to each other.

They are plain `bytes` on purpose (dict keys on the hot path). Each has its own type, so that nobody can pass
a relay's identity where a cookie is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NewType

RelayId = NewType("RelayId", bytes)
"""A relay's Ed25519 identity, 32 bytes."""

AuthKey = NewType("AuthKey", bytes)
"""The Ed25519 key by which one introducer knows an endpoint, 32 bytes."""

Cookie = NewType("Cookie", bytes)
"""The value that both circuits must show at a rendezvous point, 32 bytes."""

WhisperId = NewType("WhisperId", bytes)
"""The random name of one whisper, 16 bytes."""

RandomBytes = Callable[[int], bytes]
"""A source of n random bytes: the operating system in production, a seeded source in tests."""
