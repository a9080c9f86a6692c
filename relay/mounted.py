"""The roles that are mounted on one relay, and what kinds of role they are (core/roles.py)."""

from __future__ import annotations

from collections.abc import Mapping

from onionshh.core.roles import CostlyRole, CountingRole, EndingRole, PunctualRole, Role


class Mounted:
    """The mounted roles, in the order of mounting. They are sorted once, since whether a role is of a kind is
    slow to find out."""

    def __init__(self) -> None:
        self.by_type: dict[int, Role] = {}
        """The role that takes each type of message."""
        self.costly: frozenset[int] = frozenset()
        """Types of messages that cost their roles as much as a handshake."""
        self.roles: tuple[Role, ...] = ()
        self.punctual: tuple[PunctualRole, ...] = ()

    def add(self, role: Role) -> None:
        """It takes its messages in place of the role that took them before."""
        self.by_type |= dict.fromkeys(role.accepts, role)
        self.roles = tuple(dict.fromkeys(self.by_type.values()))
        self.punctual = tuple(one for one in self.roles if isinstance(one, PunctualRole))
        costly = [one for one in self.roles if isinstance(one, CostlyRole)]
        self.costly = frozenset(
            message_type for one in costly for message_type in one.costly if self.by_type[message_type] is one
        )

    def statistics(self) -> Mapping[str, int]:
        """What the roles count."""
        counted = [role.statistics() for role in self.roles if isinstance(role, CountingRole)]
        return {name: count for counts in counted for name, count in counts.items()}

    def close(self) -> None:
        """The relay ends: tell the roles that have something to close."""
        for role in self.roles:
            if isinstance(role, EndingRole):
                role.ended()
