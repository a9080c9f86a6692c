"""Which board a command is about: a name, or a file with 32 secret bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from onionshh.cli.failures import Usage
from onionshh.cli.options import PATH, as_usage
from onionshh.cli.sources import read_secret
from onionshh.client.arguments import check_name
from onionshh.client.node import NAME_MOST
from onionshh.core.board.topic import Topic

F = TypeVar("F", bound=Callable[..., Any])


def topic_options(command: F) -> F:
    """`[TOPIC]`, and `--topic-file` as `topic_file`."""
    said = "Take a secret topic from it: 32 bytes, or 64 hex digits; - is stdin."
    option = click.option("--topic-file", type=PATH, metavar="FILE", help=said)
    return click.argument("topic", metavar="[TOPIC]", required=False)(option(command))


def topic_of(topic: str | None, topic_file: Path | None) -> bytes | str:
    """What `Node.board` takes. Usage."""
    if topic_file is not None:
        return read_secret(topic_file, "topic")
    if topic is None:
        raise Usage("Which board? Give TOPIC, or a file with a secret topic as --topic-file.")
    with as_usage():
        Topic.of(topic)
    return topic


def check_board_name(name: str | None) -> None:
    """Check `--name`. Usage."""
    if name is not None:
        with as_usage():
            check_name("--name", name, NAME_MOST)
