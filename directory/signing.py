"""An authority's signature under a consensus (SPEC 8). Pure.

The document is the body and a list of signatures. So several authorities can sign one body, and need to
exchange nothing but that body. Clients count the distinct keys they know.
"""

from __future__ import annotations

from collections.abc import Sequence

from onionshh.core.trust import Signer
from onionshh.wire import consensus as wire


def sign_consensus(body: bytes, keys: Sequence[Signer]) -> bytes:
    """The document of a consensus body under the signatures of these authorities, sorted by key."""
    pairs = sorted((key.public, key.sign(wire.SIGNED + body)) for key in keys)
    return wire.join(body, tuple(pairs))
