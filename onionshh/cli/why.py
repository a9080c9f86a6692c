"""`onionshh relays --why`: what a directory knows of relays that it does not list, or of those named.

Nobody signs these answers, unlike the consensus. They come from one directory, so they are taken apart with
care and shown as text that a terminal does not obey.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from onionshh.cli.failures import Usage
from onionshh.cli.talk import counted
from onionshh.cli.text import one_line
from onionshh.config import Authority
from onionshh.core.base.words import utc
from onionshh.errors import NoDirectory
from onionshh.geometry import KEY
from onionshh.ids import RelayId
from onionshh.net.authority_client import DirectoryUnreachable, HttpSource

NOT_LISTED_STATUS = 3
"""The exit status when a relay that was named is not listed."""
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


def relay_id(text: str) -> RelayId:
    """A relay's id as people give it. Usage."""
    try:
        identity = bytes.fromhex(text.strip())
    except ValueError:
        identity = b""
    if len(identity) != KEY:
        raise Usage(
            f"A relay's id is {2 * KEY} hexadecimal digits, not {one_line(text)[:80]!r}; `onionshh relay`"
            " says its own when it starts."
        )
    return RelayId(identity)


async def ask(source: HttpSource, authorities: Iterable[Authority], named: Iterable[RelayId]) -> Answer:
    """Ask the first directory that answers about these relays, or about all that are not listed if none is
    named. Raises NoDirectory."""
    why, named = "the network file names none", tuple(named)
    for authority in authorities:
        try:
            if not named:
                return Answer(*await source.unlisted(authority))
            return Answer(tuple([await _asked(source, authority, one) for one in named]))
        except DirectoryUnreachable as error:
            why = f"{authority.url}: {error}"
    raise NoDirectory(f"No directory answers ({why}); check that it runs and that you are online.")


async def _asked(source: HttpSource, authority: Authority, relay: RelayId) -> dict[str, object]:
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
