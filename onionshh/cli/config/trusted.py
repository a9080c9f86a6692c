"""Whose a configuration file is. It may name a program to run, so only we and root may have written it.

The rule is that of ssh: the file belongs to us or to root, and nobody else can write to it. Who may write to
its folder alone can put no file of ours in its place that says what they want. It is asked of the file that
is open, so nobody can exchange it in between.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from onionshh.cli.failures import Usage

ROOT: Final = 0
_WHY: Final = "which may name a program that runs as you"


def check_trusted(descriptor: int, path: Path) -> None:
    """Refuse a file that somebody else wrote, or can write to. `path`: for the sentence. Usage."""
    about, us = os.fstat(descriptor), os.geteuid()
    if about.st_uid not in (us, ROOT):
        raise Usage(
            f"{path} belongs to another user (uid {about.st_uid}), {_WHY}; have root say `chown {us} {path}`,"
            " or use a copy of your own."
        )
    if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        who = "Everyone on this machine" if about.st_mode & stat.S_IWOTH else "Its whole group"
        raise Usage(f"{who} can write to {path}, {_WHY}; say `chmod go-w {path}` first.")
