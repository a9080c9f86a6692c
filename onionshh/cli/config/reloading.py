"""Reads a running program's file again when SIGHUP asks for it.

The command line is read anew with the file, as at the start. What has changed since is given to the command,
which checks all of it before it takes up any. Then it says which keys it took up, and which need a restart.
With a fault in the file, or in a value that could be taken up, nothing changes, and one sentence says why.
All of it is on stderr: stdout may be for programs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import click

from onionshh.cli.config.command import Start, start_of
from onionshh.cli.config.file import options_of
from onionshh.cli.failures import explain
from onionshh.cli.hangup import reload_by
from onionshh.cli.logs import set_level
from onionshh.cli.talk import note

LOG_LEVEL: Final = "log-level"
"""What every program that reads its file again takes up by itself."""

Take = Callable[[Mapping[str, Any]], Collection[str]]
"""Takes up the values of the keys that can change, and returns those keys that need a restart nevertheless.
Usage, before anything is changed."""


def reload_with(live: Collection[str], take: Take) -> None:
    """At SIGHUP the command that runs now takes up these keys. Without --config this does nothing."""
    context = click.get_current_context(silent=True)
    start = None if context is None else start_of(context)
    if start is not None and start.file is not None:
        reload_by(Reload(start, live, take))


class Reload:
    """What was taken up last, and what is read again."""

    def __init__(self, start: Start, live: Collection[str], take: Take) -> None:
        self._start = start
        self._live = live
        self._take = take
        self._held = self._read()

    def __call__(self) -> None:
        """Read the file again. Never raises: the program goes on as it was."""
        try:
            now = self._read()
            changed = [key for key, value in now.items() if value != self._held[key]]
            live = [key for key in changed if key in self._live or key == LOG_LEVEL]
            left = set(self._take({key: now[key] for key in self._live}) if {*live} & {*self._live} else ())
        except Exception as error:
            note(f"nothing was changed: {explain(error)[0]}")
            return
        taken = [key for key in live if key not in left]
        self._held |= {key: now[key] for key in taken}
        note(f"{self._start.file} was read again; changed: {', '.join(taken) or 'nothing'}.")
        late = [key for key in changed if key not in taken]
        if late:
            note(f"{', '.join(late)} {'needs' if len(late) == 1 else 'need'} a restart.")
        if LOG_LEVEL in taken:  # last, so that this is said at the level before
            set_level(now[LOG_LEVEL])

    def _read(self) -> dict[str, Any]:
        """The value of each option, by its key."""
        params = self._start.values().params
        return {key: params[option.name or ""] for key, option in options_of(self._start.command).items()}
