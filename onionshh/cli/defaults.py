"""Defaults that are said in words, in the same brackets as all else that --help says of an option.

click puts such words in brackets of their own, as in "[default: (off)]", and whoever writes them into the
help text by hand gets a second pair beside click's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.types import OptionHelpExtra


class InWords(click.Option):
    """An option with `show_default="what happens without it"`."""

    def get_help_extra(self, ctx: click.Context) -> OptionHelpExtra:
        """What stands in the brackets."""
        extra = super().get_help_extra(ctx)
        if words := default_in_words(self):
            extra["default"] = words
        return extra


def default_in_words(option: click.Option) -> str:
    """What an option says of its default; empty if it says nothing in words."""
    return option.show_default if isinstance(option.show_default, str) else ""
