"""`onionshh completion`: scripts that shells take, and what they get as answers."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from trio.testing import MockClock

from onionshh.cli import main
from onionshh.cli.completion import SHELLS, answered, script
from onionshh.cli.folders import network_folder
from tests.cli.conftest import Mistake
from tests.client.world import small


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_asks_by_an_option_and_not_by_a_variable(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert text == script(shell) + "\n"
    assert text.count(f" completion {shell} --answer 2>/dev/null)") == 1
    assert "_ONIONSHH" not in text
    assert "%(" not in text


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_takes_its_script(shell: str, tmp_path: Path) -> None:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(script(shell))
    done = subprocess.run([found, "-n", str(tmp_path / "script")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    "typed, found",
    [
        (["onionshh", "re"], ["relay", "relays", "reasons", "restore"]),
        (["onionshh", "relay", "--pr"], ["--print-config"]),
        (["onionshh", "whisper", "--class", "f"], ["flash"]),
        (["onionshh", "completion", ""], ["bash", "zsh", "fish"]),
        (["onionshh", "relay", "--no-such-option", "x", ""], []),
    ],
)
def test_bash_completes(typed: list[str], found: list[str], tmp_path: Path) -> None:
    """As if somebody had typed this and pressed TAB."""
    program = tmp_path / "onionshh"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m onionshh "$@"\n')
    program.chmod(0o755)
    words = " ".join(f"'{word}'" for word in typed)
    line = (
        f'PATH="{tmp_path}:$PATH"; eval "$(onionshh completion bash)"; compopt() {{ :; }};'
        f" COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}; _onionshh_completion onionshh;"
        " printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "--norc", "-c", line], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.split() == found


def answers(monkeypatch: pytest.MonkeyPatch, line: str) -> list[str]:
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    return answered("bash").split("\n")


def test_paths_are_folders_or_files(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answers(monkeypatch, "onionshh relay --data ") == ["dir,"]
    assert answers(monkeypatch, "onionshh relay --config ") == ["file,"]
    assert answers(monkeypatch, "onionshh meet ") == ["file,"]
    assert answers(monkeypatch, "onionshh send --network n shh1 ") == ["file,"]


async def test_an_id_is_completed_from_the_visitors_list_and_nobody_is_asked(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with small(3) as net:
        monkeypatch.setenv("XDG_STATE_HOME", str(net.folder / "state"))
        folder = network_folder(net.file)
        async with net.join(str(folder)):
            pass
        monkeypatch.setattr(socket, "socket", None)
        file = net.folder / "network.toml"
        ids = {relay.id for relay in net.relays}
        found = answers(monkeypatch, f"onionshh relays --network {file} --why ")
        assert {line.partition(",")[2] for line in found} == ids
        one = min(ids)
        assert answers(monkeypatch, f"onionshh relays --network {file} --why {one[:8]}") == [f"plain,{one}"]


def test_a_wrong_line_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answers(monkeypatch, "onionshh whisper --nothing x ") == [""]
    assert answers(monkeypatch, "onionshh whisper --config none.toml --cl") == ["plain,--class"]
    assert capsys.readouterr() == ("", "")


def test_who_is_no_script_is_told(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMP_WORDS", raising=False)
    assert "--answer is for the script alone" in mistake(2, "completion", "bash", "--answer")
    assert "'csh' is not one of" in mistake(2, "completion", "csh")
