"""Whose configuration file is taken: the rule of ssh."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from onionshh.cli import main
from onionshh.cli.config.trusted import check_trusted
from onionshh.cli.failures import Usage

US, OTHER, ROOT = 1000, 1001, 0


def check(monkeypatch: pytest.MonkeyPatch, owner: int, mode: int, us: int = US) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: us)
        patch.setattr(os, "fstat", lambda _: SimpleNamespace(st_uid=owner, st_mode=0o100000 | mode))
        check_trusted(3, Path("relay.toml"))


@pytest.mark.parametrize("owner", [US, ROOT])
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o444, 0o755])
def test_ours_and_that_of_root_is_taken_whoever_reads_it(
    owner: int, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that root mounts into a container, or keeps in /etc."""
    check(monkeypatch, owner, mode)


@pytest.mark.parametrize("us", [US, ROOT])
def test_that_of_another_user_is_refused(us: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Usage, match=rf"another user \(uid 1001\), .* root say `chown {us} relay.toml`, or"):
        check(monkeypatch, OTHER, 0o600, us)


@pytest.mark.parametrize("owner", [US, ROOT])
@pytest.mark.parametrize("mode, who", [(0o664, "Its whole group"), (0o646, "Everyone"), (0o666, "Everyone")])
def test_one_that_others_can_write_is_refused(
    owner: int, mode: int, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Usage, match=f"{who}.* can write to relay.toml, .*; say `chmod go-w relay.toml`"):
        check(monkeypatch, owner, mode)


def test_a_command_does_not_run_what_such_a_file_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "made.toml"
    file.write_text(f'[host]\nexec = "touch {tmp_path / "ran"}"\n')
    file.chmod(0o620)
    assert main(["host", "--config", str(file), "--data", str(tmp_path / "me")]) == 2
    assert capsys.readouterr().err == (
        f"onionshh: Its whole group can write to {file}, which may name a program that runs as you;"
        f" say `chmod go-w {file}` first.\n"
    )
