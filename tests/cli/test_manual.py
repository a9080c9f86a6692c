"""The man pages: all that --help has, and nothing that man or groff would remark on."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from onionshh.cli.app import COMMANDS, CONFIGURED, app
from onionshh.cli.manual import pages, write

PAGES = pages()


def plain(roff: str) -> str:
    """The words of a page."""
    text = re.sub(r"\\f[BIR]|\\&", "", roff)
    for escape, letter in (("\\-", "-"), ("\\(aq", "'"), ("\\(dq", '"'), ("\\(ga", "`"), ("\\(ha", "^")):
        text = text.replace(escape, letter)
    return " ".join(text.replace("\\(ti", "~").replace("\\e", "\\").split())


def test_there_is_a_page_for_the_program_and_each_command() -> None:
    own = [name for name in PAGES if not name.startswith("onionshh-master-")]
    assert own == ["onionshh.1", *(f"onionshh-{name}.1" for name in COMMANDS)]
    assert len(PAGES) - len(own) == 4
    listed = plain(PAGES["onionshh.1"])
    for name, said in COMMANDS.items():
        assert f"onionshh-{name}(1)" in listed
        assert plain(said.replace("…", "...")) in listed


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_of_the_help_is_in_the_page_with_what_is_said_of_it(name: str) -> None:
    context = click.Context(app, info_name="onionshh")
    command = app.get_command(context, name)
    assert command is not None
    text = plain(PAGES[f"onionshh-{name}.1"])
    for line in command.get_help(context).splitlines():
        for option in re.findall(r"^  (--[a-z-]+)", line):
            assert option in text
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            said = " ".join((parameter.help or "").split()).replace("…", "...")
            assert f"{parameter.opts[0]} {parameter.metavar or ''}".strip() in text
            assert said in text
    assert f"onionshh {name}" in text
    assert (f"table [{name}]" in text) == (name in CONFIGURED)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_ascii_and_no_text_is_a_request(name: str) -> None:
    assert PAGES[name].isascii()
    requests = {line.split()[0] for line in PAGES[name].splitlines() if line[:1] in (".", "'")}
    assert requests <= {".TH", ".nh", ".ad", ".SH", ".B", ".TP", ".PP", ".nf", ".fi"}


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_has_nothing_to_say(tmp_path: Path) -> None:
    for path in write(tmp_path / "man"):
        done = subprocess.run(["groff", "-man", "-ww", "-z", path], capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), path.name


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_shows_a_page_and_has_nothing_to_say(tmp_path: Path) -> None:
    for path in write(tmp_path / "man"):
        done = subprocess.run(["man", "--warnings", "-l", path], capture_output=True, text=True)
        if "minimized" in done.stdout + done.stderr:
            pytest.skip("this machine has no manual pages")
        assert (done.returncode, done.stderr) == (0, ""), path.name
        assert "SEE ALSO" in re.sub(".\b", "", done.stdout)


def test_pages_of_commands_that_are_gone_go(tmp_path: Path) -> None:
    (tmp_path / "onionshh-gone.1").touch()
    (tmp_path / "other.1").touch()
    done = subprocess.run(
        [sys.executable, "-m", "onionshh.cli.manual", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) == len(PAGES)
    assert {path.name for path in tmp_path.iterdir()} == {*PAGES, "other.1"}
