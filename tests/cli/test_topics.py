"""Which board a command is about: a name, a file, or one sentence."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from onionshh.cli.failures import Usage
from onionshh.cli.topics import check_board_name, topic_of, topic_options

SECRET = bytes(range(32))


@click.command()
@topic_options
def taken(topic: str | None, topic_file: Path | None) -> None:
    """What the options give."""
    print(repr(topic), topic_file)


@pytest.mark.parametrize(
    "arguments, given",
    [
        ((), "None None"),
        (("chess",), "'chess' None"),
        (("--topic-file", "club"), "None club"),
        (("--topic-file", "-", "chess"), "'chess' -"),
    ],
)
def test_the_options(arguments: tuple[str, ...], given: str) -> None:
    assert CliRunner().invoke(taken, arguments).output == f"{given}\n"


@pytest.mark.parametrize("name", ["chess", "a", "x" * 256, "café", "two words", "-", "🐌"])
def test_a_name_is_taken_as_it_is(name: str) -> None:
    assert topic_of(name, None) == name


@pytest.mark.parametrize("name", ["", " ", " chess", "chess ", "x" * 257, "a\nb", "a\x1b[2Jb", "\udcff"])
def test_a_name_that_cannot_be(name: str) -> None:
    with pytest.raises(Usage, match="The name of a topic is 1 to 256 printable characters"):
        topic_of(name, None)


def test_a_file_has_a_secret_topic(tmp_path: Path) -> None:
    file = tmp_path / "club"
    file.write_bytes(SECRET)
    assert topic_of(None, file) == SECRET
    file.write_text(f"{SECRET.hex()}\n")
    assert topic_of(None, file) == SECRET
    file.write_text("chess\n")
    with pytest.raises(Usage, match=rf"What {file} holds is no secret of 32 bytes"):
        topic_of(None, file)
    with pytest.raises(Usage, match=r"Cannot read the topic from .*/none"):
        topic_of(None, tmp_path / "none")


def test_no_topic_at_all() -> None:
    with pytest.raises(Usage, match="Which board"):
        topic_of(None, None)


def test_names_of_readers() -> None:
    for name in (None, "me", "x" * 64, "two words"):
        check_board_name(name)
    for name in ("", " ", "x" * 65, "a\nb"):
        with pytest.raises(Usage, match="--name must be text of 1 to 64 printable characters"):
            check_board_name(name)
