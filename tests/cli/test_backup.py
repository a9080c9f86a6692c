"""`onionshh backup`: what it says, and what it refuses in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from onionshh.cli import backup, main
from onionshh.cli.saving import making
from onionshh.cli.saving.making import read_again
from onionshh.cli.saving.snapshot import snapshot
from onionshh.net.store import DataDirectory
from tests.cli.conftest import Mistake
from tests.cli.saving import folders


def test_it_says_whose_backup_it_is_and_that_it_is_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = folders.host(tmp_path / "me")
    assert main(["backup", "--data", str(tmp_path / "me"), str(tmp_path / "me.tar")]) == 0
    out, err = capsys.readouterr()
    assert "backed up and read again: 6 files, " in out
    assert f"host {address}\n" in out
    assert "is not sealed: whoever finds it is this host, and reads the whispers" in err
    assert read_again(tmp_path / "me.tar", None).subject == address


def test_sealed_there_is_nothing_to_warn_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders.relay(tmp_path / "r")
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    common = ("--data", str(tmp_path / "r"), "--passphrase-file", str(secret), str(tmp_path / "r.backup"))
    assert main(["backup", "--moves", *common]) == 0
    assert capsys.readouterr().err == ""
    manifest = read_again(tmp_path / "r.backup", "correct horse")
    assert [one.path for one in manifest.members] == ["accounting", "mailboxes.db", "relay-keys", "ring.db"]


def test_what_a_relay_keeps_for_others_is_not_copied_while_it_runs(
    mistake: Mistake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders.relay(tmp_path / "r")
    command = ("backup", "--data", tmp_path / "r", tmp_path / "r.tar")
    with DataDirectory(tmp_path / "r").lock():
        said = mistake(1, *command, "--moves")
        assert said.startswith(f"The relay in {tmp_path / 'r'} runs; stop it before it moves")
        assert not (tmp_path / "r.tar").exists()
        assert main([str(word) for word in command]) == 0
    (tmp_path / "r" / "lock").unlink()
    assert main([str(word) for word in (*command, "--moves")]) == 0
    assert not (tmp_path / "r" / "lock").exists()  # it may be another user's folder
    capsys.readouterr()


def test_a_relay_does_not_start_while_it_is_copied_for_its_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.relay(tmp_path / "r")
    held: list[bool] = []

    def look(*arguments: object) -> int:
        held.append(DataDirectory(tmp_path / "r").is_held())
        return snapshot(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(making, "snapshot", look)
    making.make(tmp_path / "r", tmp_path / "r.tar", None, made=folders.MADE, moves=True)
    assert held == [True, True]
    assert not DataDirectory(tmp_path / "r").is_held()


def test_mistakes(mistake: Mistake, tmp_path: Path) -> None:
    file = tmp_path / "x.tar"
    (tmp_path / "empty").mkdir()
    folders.contacts(tmp_path / "c")
    assert "There is no folder" in mistake(2, "backup", "--data", tmp_path / "missing", file)
    assert "nothing of onionshh" in mistake(2, "backup", "--data", tmp_path / "empty", file)
    assert "--moves is for" in mistake(2, "backup", "--moves", "--data", tmp_path / "c", file)
    missing = ("--passphrase-file", tmp_path / "missing")
    assert "write the passphrase" in mistake(2, "backup", "--data", tmp_path / "c", *missing, file)
    (tmp_path / "short").write_text("seven77\n")
    (tmp_path / "short").chmod(0o600)
    short = ("--passphrase-file", tmp_path / "short")
    assert "at least 8" in mistake(2, "backup", "--data", tmp_path / "c", *short, file)
    assert not file.exists()
    assert backup.backup.name == "backup"
