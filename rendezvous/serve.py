"""The roles that make a relay an introducer, a rendezvous point and a ring relay, ready to be mounted."""

from __future__ import annotations

from collections.abc import Callable

from onionshh.core.base.params import Params
from onionshh.core.paths.view import View
from onionshh.core.roles import Role
from onionshh.ids import RelayId
from onionshh.rendezvous.introducer import Introducer
from onionshh.rendezvous.meeting import Meeting
from onionshh.rendezvous.ring import Ring


def roles(
    relay_id: RelayId, params: Callable[[], Params], view: Callable[[], View | None]
) -> tuple[Role, ...]:
    """One role of each kind, for one relay."""
    return (Introducer(relay_id, params), Meeting(params), Ring(relay_id, view, params))
