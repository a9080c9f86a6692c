"""`onionshh status`: how a running relay, host or directory stands."""

from __future__ import annotations

import json
from pathlib import Path

import click

from onionshh.cli.options import PATH, json_option
from onionshh.cli.status_socket import asked
from onionshh.cli.status_words import in_sentences
from onionshh.cli.talk import utter

NOT_WELL_STATUS = 1


@click.command()
@click.option(
    "--data",
    type=PATH,
    metavar="DIR",
    required=True,
    help="Folder of the program that runs.",
)
@json_option
def status(data: Path, as_json: bool) -> int:
    """Say how a running relay, host or directory stands.

    It asks by a socket in DIR, which is open to the user of that program and to root alone. With --json it
    prints the numbers as SIGUSR1 shows them. They are exact: keep them to yourself.

    \b
    Exit status: 0 all is well; 1 it runs, and is not well or does not answer; 2 nothing runs there.

    \b
    Examples:
      onionshh status --data relay1
      onionshh status --data relay1 --json
    """
    answer = asked(data)
    if as_json:
        utter(json.dumps(answer, sort_keys=True))
    else:
        for line in in_sentences(answer):
            utter(line)
    return NOT_WELL_STATUS if answer.get("why") else 0
