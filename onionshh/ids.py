"""Names for the byte strings that travel between the layers.

They are plain `bytes` on purpose (dict keys on the hot path), with a type each so that a relay's identity
cannot be handed over where a cookie is meant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NewType

RelayId = NewType("RelayId", bytes)
"""A relay's Ed25519 identity, 32 bytes."""

AuthKey = NewType("AuthKey", bytes)
"""The Ed25519 key under which an endpoint is known at one introducer, 32 bytes."""

Cookie = NewType("Cookie", bytes)
"""What two circuits must both show at a rendezvous point, 32 bytes."""

WhisperId = NewType("WhisperId", bytes)
"""Random name of one whisper, 16 bytes."""

RandomBytes = Callable[[int], bytes]
"""Source of n random bytes: the operating system's in production, a seeded one in tests."""
