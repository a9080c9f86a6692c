"""What works behind what a program sees. The only place where tests reach behind these faces."""

from __future__ import annotations

from onionshh.client.contact import Contact
from onionshh.client.context import Context
from onionshh.client.correspondence import Correspondence
from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.delivery.lanes import LaneSet
from onionshh.client.delivery.sending import Sending
from onionshh.client.endpoint import Endpoint
from onionshh.client.hosting.hosting import Parts
from onionshh.client.mail.seed_store import SeedStore
from onionshh.client.node import Node
from onionshh.client.outbox_store import PeerOutbox
from onionshh.errors import Closed


def inside(node: Node) -> Context:
    """What the parts of a node share."""
    return node._context


def behind(contact: Contact) -> Correspondence:
    """What works behind a contact, also once it is closed. Closed before it was entered."""
    if contact._correspondence is None:
        raise Closed("This contact was never entered.")
    return contact._correspondence


def outbox_of(contact: Contact) -> PeerOutbox:
    """What a contact with a name has accepted. Closed without a name."""
    folder = behind(contact).folder
    if folder is None:
        raise Closed("This contact has no name.")
    return folder.outbox


def seeds_of(contact: Contact) -> SeedStore:
    """What the letters of a contact with a name begin with. Closed without a name."""
    folder = behind(contact).folder
    if folder is None:
        raise Closed("This contact has no name.")
    return folder.seeds


def sending_of(contact: Contact) -> Sending:
    """What brings a contact's whispers over."""
    return behind(contact).sending


def parts(endpoint: Endpoint) -> Parts:
    """What works behind an endpoint, also once it is closed. Closed before it was entered."""
    if endpoint._hosting is None:
        raise Closed("This endpoint was never entered.")
    return endpoint._hosting.parts


def circuits_of(lanes: LaneSet) -> list[JoinedCircuit]:
    """The joined circuits that records go over now."""
    return [lane.carrier for lane in lanes if isinstance(lane.carrier, JoinedCircuit)]
