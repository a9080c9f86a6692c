"""All commands under one name."""

from __future__ import annotations

import click

from onionshh import __version__
from onionshh.cli.address import address
from onionshh.cli.demo import demo
from onionshh.cli.directory import directory
from onionshh.cli.host import host
from onionshh.cli.network import network
from onionshh.cli.relay import relay
from onionshh.cli.relays import relays
from onionshh.cli.whisper import whisper


class _AsAdded(click.Group):
    """Its help lists the commands in the order they were added, not that of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_AsAdded,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"max_content_width": 100, "show_default": True},
)
@click.version_option(__version__, message="%(prog)s %(version)s", help="Show the version and end.")
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
    A network of one's own:
      export ONIONSHH_NETWORK=net.toml
      onionshh directory --listen 127.0.0.1:7000 --data dir --network net.toml
      onionshh relay --listen 127.0.0.1:0 --data relay1        (8 of them, with 8 folders)

    \b
    Exit status: 0 done, delivered, or a directory, relay or host ended by a signal; 1 not delivered,
    directory down, port or folder in use; 2 wrong usage (address, file, size, option). Errors are
    one sentence on stderr, with --json also {"error": "…"} on stdout. ONIONSHH_DEBUG=1 shows where
    an error arose.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


for _command in (demo, network, directory, relay, host, whisper, relays, address):
    app.add_command(_command)


def run_command(arguments: list[str]) -> int:
    """Run one command; returns its exit status, raises whatever it raises."""
    # No variable of the environment asks for shell completion, hence the empty name.
    status = app.main(arguments, prog_name="onionshh", complete_var="", standalone_mode=False)
    return status if isinstance(status, int) else 0
