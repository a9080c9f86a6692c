"""All commands under one name. A command's module is imported only when that command is asked for, so that
the list of commands, and each start, is quick.
"""

from __future__ import annotations

import importlib
from typing import Any

import click

from onionshh import __version__

COMMANDS = {
    "demo": "Show onionshh at work: a whole network on loopback in this one process.",
    "network": "Run a whole network on this machine: a directory and relays, in one process.",
    "directory": "Run a directory: it checks relays, and tells everyone which relays there are.",
    "relay": "Run a relay: it passes on cells that it cannot read.",
    "master": "Keep a relay's identity on another machine, and make signing keys for the relay.",
    "host": "Host an endpoint and show the whispers that come, or answer them.",
    "whisper": "Whisper to an endpoint: at most 65 535 bytes, from the command line, a file or stdin.",
    "send": "Send a file of up to 8 MiB to an endpoint, in parts.",
    "post": "Post on a board: at most 65 535 bytes, from the command line, a file or stdin.",
    "board": "Show what lies on a board: all posts that have not expired, or with --watch also what comes.",
    "meet": "Talk with whoever has the same secret: neither needs an address.",
    "contacts": "List the contacts that have a name, their sessions, and what waits.",
    "relays": "List the relays of the network.",
    "reasons": "Say what the names of drops mean, which relays and hosts count: one line for each.",
    "address": "Print the address of the endpoint whose folder this is.",
}
"""Each command in the order of the help, with the first sentence of its own help."""


class Commands(click.Group):
    """The commands. The command `name` is the object `name` of the module `onionshh.cli.name`, imported when
    it is needed."""

    def __init__(self, **settings: Any) -> None:
        # Only the names, to choose and to guess from. What the commands do is in their modules.
        super().__init__(**settings, commands=[click.Command(name) for name in COMMANDS])

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"onionshh.cli.{cmd_name}"), cmd_name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from onionshh.crypto.uiv import CIPHER

        print(f"onionshh {__version__}, cipher: {CIPHER.name}")
        context.exit()


@click.group(
    cls=Commands,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"max_content_width": 100, "show_default": True},
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_version,
    help="Show the version, and which cipher cells get, and end.",
)
@click.pass_context
def app(context: click.Context) -> None:
    """Layered onion whispers: reach a peer by its address alone, and neither learns where the other is.

    \b
    See it at work on this machine:
      onionshh demo

    \b
    Try it, each line in a terminal of its own:
      onionshh network
      onionshh host --data me --echo
      onionshh whisper shh1… "hello"

    \b
    A network of your own:
      export ONIONSHH_NETWORK=net.toml
      onionshh directory --listen 127.0.0.1:7000 --data dir --network net.toml
      onionshh relay --listen 127.0.0.1:0 --data relay1        (8 of them, with 8 folders)

    \b
    Exit status: 0 done, delivered, stored, or a directory, relay or host ended by a signal; 1 not
    delivered, directory down, port or folder in use; 2 wrong usage (address, file, size, option). Errors are
    one sentence on stderr, with --json also {"error": "…"} on stdout. ONIONSHH_DEBUG=1 shows where
    an error happened.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


def run_command(arguments: list[str]) -> int:
    """Run one command; returns its exit status, raises whatever it raises."""
    # The empty name means that no environment variable turns on shell completion.
    status = app.main(arguments, prog_name="onionshh", complete_var="", standalone_mode=False)
    return status if isinstance(status, int) else 0
