"""`--verbose` says each step on stderr, and nothing without it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from onionshh.cli.verbose import verbose_option
from onionshh.client.steps import STEPS, steps


@pytest.fixture
def steps_logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger(STEPS)
    before = (logger.level, logger.propagate, list(logger.handlers))
    yield logger
    logger.level, logger.propagate, logger.handlers = before


@pytest.mark.parametrize("asked", [True, False])
def test_steps_are_said_when_asked_for(
    asked: bool, steps_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    @verbose_option
    def command() -> None:
        steps.debug("we meet at %s", "relay7")

    with CliRunner().isolation():
        command.main(["--verbose"] if asked else [], standalone_mode=False)
    steps.debug("once more")
    said = capsys.readouterr().err
    assert ("once more." in said) is asked
