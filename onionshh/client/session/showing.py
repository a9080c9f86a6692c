"""Shows an endpoint who its visitor is, if the visitor wants that (SPEC 12, core/session/proof.py)."""

from __future__ import annotations

from onionshh.client.context import Context
from onionshh.client.reach.descriptor_cache import CheckedDescriptor
from onionshh.core.session.proof import prove
from onionshh.core.session.session import Session
from onionshh.errors import CryptoError


class Showing:
    """`sender`: the address key of an identity that this node hosts; `receiver`: the endpoint's."""

    def __init__(self, context: Context, sender: bytes, receiver: bytes) -> None:
        self._context = context
        self._sender = sender
        self._receiver = receiver

    def body(self, session: Session, found: CheckedDescriptor | None) -> bytes | None:
        """The body of a PROVE for this session. None if the identity is not hosted here any more, or has no
        keys for the period of the endpoint's descriptor."""
        store = self._context.hosted.get(self._sender)
        keys = None if store is None or found is None else store.keys_of(found.period)
        if keys is None or found is None:
            return None
        try:
            proof = prove(
                session.session_id,
                sender=self._sender,
                receiver=self._receiver,
                period=found.period,
                ours=keys.rendezvous,
                theirs=found.descriptor.rendezvous_key,
            )
        except CryptoError:
            return None  # the endpoint's key is no good, and nothing else will work there either
        return proof.encode()
