"""`onionshh completion`: what makes a shell complete our commands, options and their values.

The scripts are click's own. They ask `onionshh completion SHELL --answer` for each answer, where click's
would set a variable: no variable of the environment turns a command into something else.
"""

from __future__ import annotations

import re
from typing import Final

import click
from click.shell_completion import get_completion_class

from onionshh.cli.failures import Usage
from onionshh.errors import Error

PROGRAM: Final = "onionshh"
SHELLS: Final = ("bash", "zsh", "fish")
_VARIABLE: Final = "_ONIONSHH_ANSWER"


@click.command()
@click.argument("shell", type=click.Choice(SHELLS), metavar="bash|zsh|fish")
@click.option("--answer", is_flag=True, hidden=True, help="What the script asks for.")
def completion(shell: str, answer: bool) -> int:
    """Print what makes a shell complete commands, options and their values.

    Relays, contacts and parameters are completed, too, as far as files on this machine know of them. Nothing
    is sent.

    \b
    Examples:
      eval "$(onionshh completion bash)"                 in ~/.bashrc
      onionshh completion zsh > ~/.zfunc/_onionshh       with fpath+=~/.zfunc before compinit in ~/.zshrc
      onionshh completion fish > ~/.config/fish/completions/onionshh.fish
    """
    print(answered(shell) if answer else script(shell))
    return 0


def script(shell: str) -> str:
    """The script for this shell."""
    made = get_completion_class(shell)
    if made is None:
        raise Usage(f"There is no completion for {shell}.")
    source = made.source_template % {
        "complete_func": f"_{PROGRAM}_completion",
        "complete_var": _VARIABLE,
        "prog_name": PROGRAM,
    }
    source = source.replace(f"{_VARIABLE}={shell}_complete ", "")
    return re.sub(rf"(\$1|{PROGRAM})\)", rf"\1 completion {shell} --answer 2>/dev/null)", source, count=1)


def answered(shell: str) -> str:
    """What could come next on the command line that the script put into the environment."""
    from onionshh.cli.app import app

    made = get_completion_class(shell)
    if made is None:
        raise Usage(f"There is no completion for {shell}.")
    try:
        return made(app, {}, PROGRAM, _VARIABLE).complete()
    except KeyError as error:
        raise Usage("--answer is for the script alone, which sets COMP_WORDS and COMP_CWORD.") from error
    except (Error, OSError, click.ClickException):
        return ""  # what was typed so far is wrong: nothing fits
