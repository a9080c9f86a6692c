"""Looks after a signing key: takes the next one while the relay runs, and warns before the last one ends.

The next key is a file that somebody puts in the place of the last one. It is taken if it is of this relay,
lasts longer than the one in use, and is not over. Any other changes nothing and is told once: the key in use
serves on. Whether a key is over is judged by what consensuses have confirmed. When to warn is judged by the
best clock there is, since a warning can be wrong without harm.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from onionshh.core.base.words import amount, utc
from onionshh.core.certificate import MOST_SECONDS, RelaySigner, is_over
from onionshh.errors import BadData
from onionshh.net.store import DataDirectory
from onionshh.relay.keys import RelayKeys
from onionshh.relay.signing_file import SIGNING_FILE, read_signing

logger = logging.getLogger("onionshh.relay")

DAY = 86_400
WARN_SECONDS = (7 * DAY, DAY, 0)
"""What is left when the operator is told: twice before the end, and at the end."""
NEXT = "make the next one with `onionshh master sign` and put it into the relay's folder"


class Renewal:
    """The care of one relay's signing key. Nothing is done for a relay that has its identity at hand, except
    that a signing key which lies beside it for nothing is told. `say` takes good news."""

    def __init__(self, keys: RelayKeys, folder: DataDirectory, say: Callable[[str], None]) -> None:
        self._keys = keys
        self._path = folder / SIGNING_FILE
        self._say = say
        self._refused = ""
        """What was said last of a key that is not taken."""
        self._warned = 0
        """How many of the warnings about the key in use were given, those that were skipped included."""

    def look(self, earliest: int, best: int) -> bool:
        """Take what lies in the folder, and warn. Returns whether a new key is in use from now on.

        Both in Unix seconds. `earliest`: a time that has certainly passed, 0 if none is known. `best`: the
        best guess.
        """
        taken = self._take(earliest, best)
        if taken:
            self._warned = 0
        self._warn(best)
        return taken

    def seconds_left(self, best: int) -> int | None:
        """Until the key in use is over, negative after that; None for a relay that has its identity."""
        certificate = self._keys.signer.certificate
        return certificate.expires - best if certificate is not None else None

    def _take(self, earliest: int, best: int) -> bool:
        held = self._keys.signer
        try:
            found = read_signing(self._path)
        except BadData as error:
            self._refuse(f"the new signing key is not taken: {error}")
            return False
        if found is None:
            if held.certificate is not None:
                self._refuse(f"{SIGNING_FILE} is gone from the folder; this relay cannot start without it")
            return False
        if found.certificate == held.certificate:
            self._refused = ""
            return False
        why = why_not(found, held, earliest, best)
        if why:
            self._refuse(f"the new signing key is not taken: {why}")
            return False
        self._refused = ""
        self._keys.sign_with(found)
        if found.certificate is not None:
            self._say(f"a new signing key is in use; it ends on {utc(found.certificate.expires)}")
        return True

    def _refuse(self, sentence: str) -> None:
        if sentence != self._refused:
            self._refused = sentence
            logger.warning("%s", sentence)

    def _warn(self, best: int) -> None:
        certificate = self._keys.signer.certificate
        if certificate is None:
            return
        left = certificate.expires - best
        due = sum(left <= seconds for seconds in WARN_SECONDS)
        if due <= self._warned:
            return
        self._warned = due
        ends = utc(certificate.expires)
        if left > 0:
            logger.warning("this relay's signing key ends on %s, in %s; %s", ends, amount(left), NEXT)
        else:
            logger.warning("not listed: this relay's signing key ended on %s; %s", ends, NEXT)


def why_not(found: RelaySigner, held: RelaySigner, earliest: int, best: int) -> str:
    """Why this signing key cannot take the place of what is in use, in words; empty if it can."""
    new, old = found.certificate, held.certificate
    if old is None or new is None:
        return "this relay has its identity at hand and needs none; `onionshh master take` takes it away"
    if found.identity != held.identity:
        return "it is for another relay"
    if new.expires <= old.expires:
        return f"it ends on {utc(new.expires)}, and the one in use lasts until {utc(old.expires)}"
    if is_over(new, earliest):
        return f"it ended on {utc(new.expires)}"
    if new.expires > best + MOST_SECONDS:
        return f"it ends on {utc(new.expires)}, later than any directory takes; was a clock wrong?"
    return ""
