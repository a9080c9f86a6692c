"""The command line: one file for each command, and a few small ones that they share.

`main` turns any error of a command into one sentence on stderr, with --json also `{"error": …}` on stdout,
and an exit status:

- 0: done, or a signal ended a command that runs until then;
- 1: not delivered, directory down, port or folder in use;
- 2: wrong usage;
- 3: delivered, but stdout took no reply.

There is no traceback unless ONIONSHH_DEBUG is set. Little is imported before a command is known, so that
signals work from the first moment on and `--help` is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

UNTIL_ENDED = frozenset({"directory", "host", "network", "relay", "top"})
"""Commands that run until a signal ends them. For these, a signal is the normal end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script: runs the command of these arguments (None: the arguments of the process).

    Returns the exit status.
    """
    from onionshh.cli.ending import end_on_signals, ended_by_signal, status_when_ended, when_ended
    from onionshh.cli.hangup import expect

    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with end_on_signals():
            if given[:1] and given[0] in UNTIL_ENDED:  # from its first moment on
                when_ended(0)
                expect(given)
            from onionshh.cli.failures import configure_logging
            from onionshh.cli.logs import begin
            from onionshh.cli.text import steady_streams

            steady_streams()
            begin(given)
            configure_logging()
            from onionshh.cli.app import run_command

            return run_command(given)
    except BaseException as error:
        if ended_by_signal():
            return status_when_ended()
        if isinstance(error, SystemExit):
            return error.code if isinstance(error.code, int) else 1
        from onionshh.cli.failures import report

        return report(error, as_json="--json" in given)
