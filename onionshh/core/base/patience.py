"""How long a node waits for others before it gives up, in seconds.

This file has every such wait of a client or endpoint. The waits of relays and links are parameters. The waits
fit together: an endpoint answers an introduction before the visitor gives up, and a self-test takes longer
than every wait inside it.
"""

from __future__ import annotations

from typing import Final

ANSWER_SECONDS: Final = 10.0
"""The last relay of a circuit answers a message that fits into a few cells."""
RING_ANSWER_SECONDS: Final = 15.0
"""A ring relay sends a descriptor: about 25 cells come back."""
PUBLISH_ANSWER_SECONDS: Final = 20.0
"""A ring relay takes a descriptor: as many cells go there first, and the relay checks the signatures."""
PUT_ANSWER_SECONDS: Final = 25.0
"""A relay takes an item: twelve cells go there, it checks the proof and the signature, and it syncs."""
LIST_ANSWER_SECONDS: Final = 25.0
"""A relay sends a page of a mailbox: about 36 cells come back, read from its disk."""
CONSENSUS_SECONDS: Final = 120.0
"""A relay sends a whole consensus over a circuit."""

MEETING_SECONDS: Final = 15.0
"""An endpoint reaches a rendezvous point, from the introduction to RENDEZVOUS1."""
RENDEZVOUS_SECONDS: Final = 20.0
"""A visitor waits at the rendezvous point, from the introduction on. This is longer than the endpoint's."""

ARRIVAL_SECONDS: Final = 15.0
"""A test introduction comes back to the endpoint that sent it."""
UPLOAD_SECONDS: Final = 60.0
"""One upload with its circuit. Offline, a circuit alone would wait without end."""
PUT_SECONDS: Final = 60.0
"""One PUT with its circuit."""
CIRCUIT_SECONDS: Final = 60.0
"""A circuit that is not for a person who waits. Offline, it would be waited for without end."""
MAILBOX_SECONDS: Final = 120.0
"""No more is asked of one relay in one reading of a mailbox after this. Whatever is left comes with the next
reading."""
RECALL_SECONDS: Final = 60.0
"""Whoever recalls a letter waits so long; the rest is done in the background."""
TEST_SECONDS: Final = 60.0
"""One self-test with its circuits."""
