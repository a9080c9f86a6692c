"""What a program sees of a session."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """The session behind a contact, at one moment: what `Contact.session` returns (SPEC 12)."""

    started_at: int
    """When the contact introduced itself, Unix seconds."""
    exchanges: int
    """How often a way to the endpoint was opened in this session, the introduction included."""
    resumed: int
    """How many of these went on with the session, without a new introduction."""
    refreshed_at: int
    """When its keys were last exchanged anew, Unix seconds. Before the first time, when it started."""
    way_back: bool
    """Whether the endpoint can speak first now."""
