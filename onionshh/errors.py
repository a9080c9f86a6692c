"""The errors a program can see, and the one that never leaves the node.

Two families that do not mix. `Error` and what derives from it is the public face: each says in one
sentence what happened and, where a person can do something, what to do. `ProtocolError` is the private
face: whatever bytes from the network are wrong, exactly this is raised at the door, and the peer learns
nothing about why (SPEC 17).
"""

from __future__ import annotations

from onionshh.reasons import Reason


class Error(Exception):
    """What all errors of onionshh derive from. The message is one sentence that says what happened and, where
    a person can do something about it, what to do.

    A wrong argument is a ValueError or TypeError, and what the system refuses (a full disk) an OSError.

    ```python
    import onionshh


    async def main(node: onionshh.Node, address: str) -> None:
        try:
            async with node.contact(address) as contact:
                await contact.whisper(bytes(65_536))
        except onionshh.Error as error:
            print(type(error).__name__)  # TooLarge
            print(error)  # A whisper holds at most 65535 bytes; this one has 65536.
    ```
    """


class BadAddress(Error, ValueError):
    """This text is not an address; the message says what is wrong with it."""


class BadNetworkFile(Error):
    """The network file is missing or cannot be used; the message says what to do."""


class TooLarge(Error, ValueError):
    """A whisper or reply of more than 65 535 bytes. Nothing of it was sent."""


class Full(Error):
    """Too many whispers of this contact wait already. Once some have a receipt, there is room for more."""


class NetworkUnreachable(Error):
    """No guard answers, or no path of the wanted length exists. A contact tries on and does not raise this:
    its `problem` and the receipt's `why` say it."""


class NoDirectory(Error):
    """No directory answers, and no valid consensus is at hand."""


class ClockWrong(Error):
    """The local clock does not agree with the network's signed time.

    - `offset_seconds: int`. About how far the local clock is ahead (more than 0) or behind (less than 0).
    """

    def __init__(self, message: str, offset_seconds: int) -> None:
        super().__init__(message)
        self.offset_seconds = offset_seconds

    def __reduce__(self) -> tuple[type[ClockWrong], tuple[str, int]]:
        # An exception is copied from its `args`, and those are the sentence alone.
        return type(self), (str(self), self.offset_seconds)


class DataInUse(Error):
    """This data folder is in use already, in this process or in another: for an endpoint, by another `host`
    of the same identity; for a contact with a name, by another one of the same address and name."""


class BadData(Error):
    """A file or folder of ours cannot be used: it cannot be read or written, or is damaged. The message names
    it."""


class NotDelivered(Error):
    """No reply came to a whisper that asked for one.

    - `status: str`. The status of its receipt at that moment. A whisper that was `sent` may have arrived, and
      one that was `delivered` has.
    - `why: str`. What is known of the reason, in words.
    """

    def __init__(self, message: str, status: str = "failed", why: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.why = why


class Away(NotDelivered):
    """Nobody is found at the address right now. The whisper waits on, and may be delivered until its TTL
    ends."""


class NotStored(Error):
    """A whisper ended before relays kept it for its endpoint, or a post before relays had it.

    - `status: str`. The status of its receipt or posting, such as `expired` or `failed`.
    - `why: str`. What is known of the reason, in words.
    """

    def __init__(self, message: str, status: str = "failed", why: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.why = why


class WrongLoop(Error):
    """onionshh was used outside trio.

    ```python
    import asyncio

    import onionshh


    async def main() -> None:
        try:
            async with onionshh.join("network.toml", data_dir=None):
                pass
        except onionshh.WrongLoop as error:
            print(error)  # onionshh runs under trio, and this is another event loop …


    asyncio.run(main())
    ```
    """


class Closed(Error):
    """The node, endpoint or contact is not open: it was closed, was never entered, or was to be entered
    twice. Also for a second reply to one whisper."""


class ProtocolError(Exception):
    """Bytes or a message that the protocol does not allow here.

    Raised by `*_untrusted` functions and by machines, and by nothing else. `reason` is the name under
    which the drop is counted (onionshh/reasons.py); it stays on our side.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class CryptoError(ProtocolError):
    """A key, tag, proof or signature that does not hold."""
