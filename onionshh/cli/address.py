"""`onionshh address`: the address of an endpoint's folder."""

from __future__ import annotations

import os
from pathlib import Path

import click

from onionshh.cli.failures import Usage
from onionshh.cli.options import PATH
from onionshh.client.identities import Identity

IDENTITY_FILE = "identity"


@click.command()
@click.option("--data", type=PATH, metavar="DIR", required=True, help="The folder given to `onionshh host`.")
def address(data: Path) -> int:
    """Print the address of the endpoint whose folder this is.

    Others reach the endpoint by this address and nothing else. Back up the file `identity` in the folder:
    anyone who has it is the endpoint, and without it the address is lost.

    \b
    Example:
      onionshh address --data me
    """
    path = data / IDENTITY_FILE
    if not os.path.lexists(path):
        raise Usage(f"There is no endpoint in {data}; `onionshh host --data {data}` makes one.")
    print(Identity.load(path).address)
    return 0
