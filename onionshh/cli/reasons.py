"""`onionshh reasons`: what the names in a drop count mean."""

from __future__ import annotations

import click

from onionshh.cli.completing import reason_names
from onionshh.cli.failures import Usage
from onionshh.reasons import Reason


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=reason_names)
def reasons(names: tuple[str, ...]) -> int:
    """Say what the names of drops mean, which relays and hosts count: one line for each.

    The hourly line of a relay and the answer to SIGUSR1 have such names with their counts.

    \b
    Examples:
      onionshh reasons
      onionshh reasons queue-full link-idle
    """
    known = {reason.value: reason for reason in Reason}
    for name in names or known:
        if name not in known:
            raise Usage(f"There is no reason {name!r}; `onionshh reasons` lists all.")
        print(f"{name}: {known[name].sentence}")
    return 0
