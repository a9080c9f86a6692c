"""The roles that make a relay an introducer, a rendezvous point, a ring relay and a keeper of mailboxes."""

from __future__ import annotations

import os
from collections.abc import Callable

from onionshh.core.base.params import Params
from onionshh.core.paths.view import View
from onionshh.core.roles import Role
from onionshh.geometry import SALT
from onionshh.ids import RelayId
from onionshh.net.store import Folder
from onionshh.rendezvous.introducer import Introducer
from onionshh.rendezvous.mailbox_store import open_mailbox_store
from onionshh.rendezvous.mailboxes import Mailboxes
from onionshh.rendezvous.meeting import Meeting
from onionshh.rendezvous.ring import Ring
from onionshh.rendezvous.ring_store import open_ring_store


def roles(
    relay_id: RelayId,
    params: Callable[[], Params],
    view: Callable[[], View | None],
    wall: Callable[[], int],
    folder: Folder,
) -> tuple[Role, ...]:
    """One role of each kind, for one relay. `wall`: this machine's clock. `folder`: its data folder, from
    which the descriptors and items of before are read."""
    store, rows = open_ring_store(folder)
    # The salt decides nothing and only hides something, so a run with a seed need not repeat it.
    ring = Ring(relay_id, view, params, store=store, rows=rows, salt=os.urandom(SALT))
    items, held = open_mailbox_store(folder)
    mailboxes = Mailboxes(relay_id, view, params, wall, store=items, held=held)
    return (Introducer(relay_id, params), Meeting(params), ring, mailboxes)
