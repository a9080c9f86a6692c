"""The table of all targets. tests/fuzz/test_targets.py sees that no door is left out."""

from __future__ import annotations

from tests.fuzz.boards import BOARDS
from tests.fuzz.circuits import CIRCUITS
from tests.fuzz.delivery import DELIVERY
from tests.fuzz.directory import DIRECTORY
from tests.fuzz.doors import DOORS
from tests.fuzz.folders import FOLDERS
from tests.fuzz.link import LINKS
from tests.fuzz.mailboxes import MAILBOXES
from tests.fuzz.roles import ROLES
from tests.fuzz.sessions import SESSIONS

TARGETS = {
    target.name: target
    for table in (DOORS, LINKS, CIRCUITS, DELIVERY, SESSIONS, MAILBOXES, BOARDS, ROLES, DIRECTORY, FOLDERS)
    for target in table
}
"""By name."""
