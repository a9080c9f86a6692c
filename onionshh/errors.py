"""The errors a program can see, and the one that never leaves the node.

Two families that do not mix. `Error` and what derives from it is the public face: each says in one
sentence what happened and, where a person can do something, what to do. `ProtocolError` is the private
face: whatever bytes from the network are wrong, exactly this is raised at the door, and the peer learns
nothing about why (SPEC 17).
"""

from __future__ import annotations


class Error(Exception):
    """Base of every error that the public API raises."""


class BadAddress(Error, ValueError):
    """An address that is no onionshh address; the message says what is wrong with it."""


class BadNetworkFile(Error):
    """A network file that is missing or cannot be used; the message says what to do."""


class TooLarge(Error, ValueError):
    """A whisper of more than 65 535 bytes: refused before anything is sent."""


class Full(Error):
    """Too much waits already; once some of it has its receipt, more is taken."""


class NetworkUnreachable(Error):
    """No guard answers, or no path of the asked length can be made."""


class NoDirectory(Error):
    """No directory answers and no valid consensus is held."""


class ClockWrong(Error):
    """The local clock disagrees with the network's signed time.

    `offset_seconds` is about how far the local clock is ahead (positive) or behind (negative).
    """

    def __init__(self, message: str, offset_seconds: int) -> None:
        super().__init__(message)
        self.offset_seconds = offset_seconds


class DataInUse(Error):
    """Another process holds this data directory."""


class BadData(Error):
    """A file of ours on disk that cannot be read back; the message names it."""


class NotDelivered(Error):
    """A whisper whose answer was asked for did not get one; `status` and `why` say more."""

    def __init__(self, message: str, status: str = "failed", why: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.why = why


class Away(NotDelivered):
    """Nobody is found at the address right now. The whisper may still be delivered until its TTL ends."""


class WrongLoop(Error):
    """onionshh was used outside trio."""


class Closed(Error):
    """The node, endpoint or contact was closed."""


class ProtocolError(Exception):
    """Bytes or a message that the protocol does not allow here.

    Raised by `*_untrusted` functions and by machines, and by nothing else. `reason` is the name under
    which the drop is counted (core/base/reasons.py); it stays on our side.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CryptoError(ProtocolError):
    """A key, tag, proof or signature that does not hold."""
