"""A command with `--config` and `--print-config`. The group of commands makes each command one of these, so
no command knows of it.

The command line comes before the environment, the environment before the file, and the file before the
defaults. `values` works that out without doing anything else: nothing is required, and nothing is called. It
is what is printed, and what a reload compares.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from onionshh.cli.config.file import options_of, read_config
from onionshh.cli.failures import Usage
from onionshh.cli.options import PATH

META: Final = "onionshh.cli.config"


@dataclass(frozen=True, slots=True)
class Start:
    """How a command was started: what a reload reads again."""

    command: Configured
    arguments: tuple[str, ...]
    parent: click.Context | None

    @property
    def file(self) -> Path | None:
        """The file of `--config`, if it was given."""
        file = self.values().params["config"]
        return file if isinstance(file, Path) else None

    def values(self) -> click.Context:
        """What the options are now: `params`, and where each is from. Usage, click's UsageError."""
        bare = [_bare(parameter) for parameter in self.command.params]
        command = click.Command(self.command.name, params=bare)
        settings = self.command.context_settings
        return command.make_context(self.command.name, list(self.arguments), parent=self.parent, **settings)


def _bare(parameter: click.Parameter) -> click.Parameter:
    made = copy.copy(parameter)
    made.required = False
    made.expose_value = True
    if made.name != "config":
        made.callback = None
    return made


class Configured(click.Command):
    """A command that takes its options also from a file."""

    @classmethod
    def of(cls, command: click.Command, commands: Iterable[str]) -> Configured:
        """This command with the two options. `commands`: the names of all."""
        names = list(commands)

        def take(context: click.Context, _: click.Parameter, file: Path | None) -> Path | None:
            if file is not None and not context.resilient_parsing:
                context.default_map = read_config(file, command, names)
            return file

        return cls(
            command.name,
            context_settings=command.context_settings,
            callback=command.callback,
            params=[*command.params, _config_option(take), _print_option()],
            help=command.help,
            epilog=command.epilog,
            short_help=command.short_help,
            options_metavar=command.options_metavar,
            hidden=command.hidden,
            deprecated=command.deprecated,
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it. What was given is kept for `start_of`."""
        ctx.meta[META] = Start(self, tuple(args), ctx.parent)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. What it says of an option that is from the file also says where that is."""
        try:
            return super().invoke(ctx)
        except Usage as error:
            raise Usage(str(error) + self._whence(ctx, str(error))) from error

    def _whence(self, ctx: click.Context, said: str) -> str:
        start = start_of(ctx)
        named = set(re.findall(r"--([a-z][a-z-]*)", said))
        keys = [
            key
            for key, option in options_of(self).items()
            if key in named and ctx.get_parameter_source(option.name or "") is ParameterSource.DEFAULT_MAP
        ]
        if start is None or not keys:
            return ""
        return f" ({', '.join(keys)}: from [{self.name}] in {start.file})"


def start_of(context: click.Context) -> Start | None:
    """How the command of this context was started; None if nobody parsed a command line for it."""
    start = context.meta.get(META)
    return start if isinstance(start, Start) else None


def _config_option(callback: Any) -> click.Option:
    said = "Take options from this TOML file, table [COMMAND]. What is given here comes first."
    return click.Option(
        ["--config"],
        type=PATH,
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=callback,
        help=said,
    )


def _print_option() -> click.Option:
    return click.Option(
        ["--print-config"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_print,
        help="Print the options that would be used, as a file for --config, and end.",
    )


def _print(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    start = start_of(context)
    if wanted and start is not None and not context.resilient_parsing:
        from onionshh.cli.config.printed import printed

        click.echo(printed(start.command, start.values()).encode(), nl=False)  # TOML is UTF-8 everywhere
        context.exit()
