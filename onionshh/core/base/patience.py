"""How long a node waits for others before it takes them for silent, in seconds.

Every such wait of a client or endpoint stands here; those of relays and links come from the parameters. They
fit into one another: an introduction is answered before its visitor gives up, and a test of oneself ends
after every wait within it.
"""

from __future__ import annotations

from typing import Final

ANSWER_SECONDS: Final = 10.0
"""The last relay of a circuit answers a message that fits into a few cells."""
RING_ANSWER_SECONDS: Final = 15.0
"""A ring relay shows a descriptor: some 25 cells come back."""
PUBLISH_ANSWER_SECONDS: Final = 20.0
"""A ring relay takes a descriptor: as many go there first, and it checks their signatures."""
CONSENSUS_SECONDS: Final = 120.0
"""A relay hands a whole consensus on, over a circuit."""

MEETING_SECONDS: Final = 15.0
"""An endpoint's way to a rendezvous point, from the introduction to RENDEZVOUS1."""
RENDEZVOUS_SECONDS: Final = 20.0
"""A visitor waits so long at the rendezvous point, from the introduction on: longer than the endpoint."""

ARRIVAL_SECONDS: Final = 15.0
"""A test introduction comes back to the endpoint that sent it."""
UPLOAD_SECONDS: Final = 60.0
"""One upload with its circuit: offline, a circuit alone would wait without end."""
TEST_SECONDS: Final = 60.0
"""One test of oneself with its circuits."""
