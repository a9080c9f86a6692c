"""`--verbose`: each step in words, on stderr (client/steps.py)."""

from __future__ import annotations

import logging
from typing import Any

import click

from onionshh.cli.talk import note
from onionshh.client.steps import STEPS


class _Remarks(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        note(f"{record.getMessage()}.", logger=record.name)


def tell_steps() -> None:
    """From now on every step is said."""
    logger = logging.getLogger(STEPS)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(_Remarks())


def _set(context: click.Context, parameter: click.Parameter, value: Any) -> bool:
    if value:
        tell_steps()
    return bool(value)


verbose_option = click.option(
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_set,
    help="Say each step in words, on stderr.",
)
