"""`onionshh relays --why`: what a directory knows of relays that it does not list, or of those named.

Nobody signs these answers, unlike the consensus. They come from one directory, so they are taken apart with
care and shown as text that a terminal does not obey.

Of an id its first digits are enough: that is how lists and logs show ids. The whole id is then looked for in
the directory's lists of all relays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from onionshh.cli.failures import Usage
from onionshh.cli.talk import counted
from onionshh.cli.text import one_line
from onionshh.config import Authority, NetworkFile
from onionshh.core.base.words import utc
from onionshh.core.trust import read_consensus_untrusted
from onionshh.errors import NoDirectory, ProtocolError
from onionshh.geometry import KEY
from onionshh.ids import RelayId
from onionshh.net.authority_client import DirectoryUnreachable, HttpSource

NOT_LISTED_STATUS = 3
"""The exit status when a relay that was named is not listed."""
DIGITS_LEAST = 8
"""So many of an id's digits are shown where there is little room."""
_DIGITS = re.compile(f"[0-9a-f]{{{DIGITS_LEAST},{2 * KEY}}}", re.ASCII)
_HOURS_OF_DAYS = 48
PLACES_SHOWN = 8
"""More than a relay has."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a directory told: an object for each relay, and of how many more it knows."""

    relays: tuple[dict[str, object], ...]
    left_off: int = 0

    @property
    def all_listed(self) -> bool:
        """Whether each of them is listed."""
        return all(relay.get("listed") is True for relay in self.relays)


def id_digits(text: str) -> str:
    """The digits of a relay's id as people give it: all of them, or the first ones. Usage."""
    digits = text.strip().lower().removesuffix("…")
    if not _DIGITS.fullmatch(digits):
        raise Usage(
            f"A relay's id is {2 * KEY} hexadecimal digits, of which the first {DIGITS_LEAST} are enough, not"
            f" {one_line(text)[:80]!r}; `onionshh relay` says its own when it starts."
        )
    return digits


async def ask(source: HttpSource, network: NetworkFile, named: Sequence[str]) -> Answer:
    """Ask the first directory that answers about the relays with these ids (`id_digits`), or about all that
    are not listed if none is named. Raises NoDirectory, and Usage if several ids begin with the digits."""
    why = "the network file names none"
    for authority in network.authorities:
        try:
            if not named:
                return Answer(*await source.unlisted(authority))
            whole = await _whole(source, network, authority, named)
            return Answer(tuple([await _asked(source, authority, one) for one in whole]))
        except DirectoryUnreachable as error:
            why = f"{authority.url}: {error}"
    raise NoDirectory(f"No directory answers ({why}); check that it runs and that you are online.")


async def _whole(
    source: HttpSource, network: NetworkFile, authority: Authority, named: Sequence[str]
) -> list[str]:
    """The whole ids, as far as the directory knows relays whose ids begin so."""
    if all(len(digits) == 2 * KEY for digits in named):
        return list(named)
    try:  # its dates do not matter: it is only looked up in
        consensus = read_consensus_untrusted(await source.consensus(authority), network)
    except ProtocolError as error:
        raise DirectoryUnreachable("its list of relays is not valid") from error
    unlisted, _ = await source.unlisted(authority)
    known = {row.identity.hex() for row in consensus.relays}
    known |= {one for one in (_text(relay, "id") for relay in unlisted) if _DIGITS.fullmatch(one)}
    return [_only(digits, known) for digits in named]


def _only(digits: str, known: Iterable[str]) -> str:
    """The one id that begins so, or what was given if there is none. Usage if there are several."""
    found = [one for one in known if len(one) == 2 * KEY and one.startswith(digits)]
    if len(found) > 1:
        raise Usage(f"The ids of {len(found)} relays begin with {digits}; give more digits.")
    return found[0] if found else digits


async def _asked(source: HttpSource, authority: Authority, digits: str) -> dict[str, object]:
    if len(digits) < 2 * KEY:
        why = "no relay that it tells of has an id that begins so; check the digits, or give all of them"
        return {"id": digits, "status": "unknown", "known": False, "listed": False, "why": why}
    relay = RelayId(bytes.fromhex(digits))
    told = await source.status(authority, relay)
    if not isinstance(told.get("known"), bool):
        raise DirectoryUnreachable("it says nothing of relays")
    return told | {"id": relay.hex()}


def show_objects(answer: Answer) -> None:
    """One object per line, as the directory told it."""
    for relay in answer.relays:
        print(json.dumps(relay))


def show(answer: Answer, *, named: bool) -> None:
    """For a person: some lines for each relay, and how many there are."""
    console = Console()
    for relay in answer.relays:
        address = "" if len(_places(relay)) > 1 else _text(relay, "address")
        head = " ".join(filter(None, (_text(relay, "nickname"), address)))
        console.print(Text(head or "not known", style="bold"), soft_wrap=True)
        for line in _lines(relay):
            console.print(Text(f"  {line}"), soft_wrap=True)
    if not named:
        count = len(answer.relays) + answer.left_off
        more = f"; {answer.left_off} of them are not shown" if answer.left_off else ""
        are = "is" if count == 1 else "are"
        console.print(Text(f"{counted(count, 'relay')} {are} known and not listed{more}."), soft_wrap=True)


def _lines(relay: dict[str, object]) -> list[str]:
    """What there is to say about one relay."""
    listed, why, refused = relay.get("listed") is True, _text(relay, "why"), _text(relay, "refused")
    since = relay.get("since")
    standing = "listed" if listed else "not listed"
    if isinstance(since, int):
        standing += f" since {utc(since)}"
    places = _places(relay)
    if listed and len(places) > 1:
        why = ""  # it is about some of these places, and said with them
    if relay.get("known") is False:
        standing = "not known to the directory"
    lines = [f"id {_text(relay, 'id')}", f"{standing}: {why}" if why else standing]
    if refused:
        lines.append(f"its last descriptor was {refused}")
    lines += places if len(places) > 1 else ()
    tested, answered = relay.get("last_check"), relay.get("answered")
    if isinstance(tested, int):
        lines.append(f"last check {utc(tested)}: {'answered' if answered is True else 'no answer'}")
    hours = relay.get("up_hours")
    if isinstance(hours, int):
        lines.append(f"answers every check for {_hours(hours)}")
    if _text(relay, "software"):
        lines.append(f"version {_text(relay, 'software')}")
    return lines


def _places(relay: dict[str, object]) -> list[str]:
    """A line for each address at which the relay says it is."""
    told = relay.get("places")
    lines = []
    for place in told[:PLACES_SHOWN] if isinstance(told, list) else ():
        address = _text(place, "address") if isinstance(place, dict) else ""
        if address:
            answered, why = place.get("answered"), _text(place, "why")
            word = "answered" if answered is True else f"not asked: {why}" if why else "not asked yet"
            if answered is False:
                word = f"not reached: {why}" if why else "not reached"
            lines.append(f"at {address}: {word}")
    return lines


def _hours(hours: int) -> str:
    if hours < 2:
        return "an hour" if hours == 1 else "less than an hour"
    return f"{hours} hours" if hours < _HOURS_OF_DAYS else f"{hours // 24} days"


def _text(relay: dict[str, object], name: str) -> str:
    value = relay.get(name)
    return one_line(value) if isinstance(value, str) else ""
