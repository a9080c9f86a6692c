"""`onionshh restore`: what it says about two machines and about what is forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from onionshh.cli import main, restore
from onionshh.cli.saving.making import make
from tests.cli.conftest import Mistake
from tests.cli.saving import folders
from tests.cli.saving.folders import MADE


@pytest.mark.parametrize(
    ("kind", "forgotten"),
    [
        ("relay", "Bytes that --monthly has counted"),
        ("directory", "random values"),
        ("host", "is shown a second time"),
        ("contacts", "are sent again"),
    ],
)
def test_it_says_what_is_forgotten_and_that_the_old_machine_must_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, forgotten: str
) -> None:
    getattr(folders, kind)(tmp_path / kind)
    manifest = make(tmp_path / kind, tmp_path / "file", None, made=MADE)
    expect = ("--expect", manifest.subject) if manifest.subject else ()
    assert main(["restore", "--data", str(tmp_path / "new"), *expect, str(tmp_path / "file")]) == 0
    out, err = capsys.readouterr()
    assert " of 2027-01-15 08:00:00 UTC into " in out
    assert f"{kind} {manifest.subject}\n" in out or not manifest.subject
    assert "must not run any more" in err
    assert forgotten in err
    assert restore.restore.name == "restore"


def test_a_relay_without_a_limit_has_counted_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders.relay(tmp_path / "r")
    (tmp_path / "r" / "accounting").unlink()
    make(tmp_path / "r", tmp_path / "file", None, made=MADE)
    assert main(["restore", "--data", str(tmp_path / "new"), str(tmp_path / "file")]) == 0
    err = capsys.readouterr().err
    assert "must not run any more" in err
    assert err.count("\n") == 1


def test_it_says_where_the_old_folder_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders.host(tmp_path / "me")
    make(tmp_path / "me", tmp_path / "file", None, made=MADE)
    options = ("--replace", "--identity-only", "--data", str(tmp_path / "me"))
    assert main(["restore", *options, str(tmp_path / "file")]) == 0
    out, err = capsys.readouterr()
    (aside,) = tmp_path.glob("me.before-*")
    assert str(aside) in out
    assert "Ids of all earlier whispers are forgotten" in err


def test_mistakes(mistake: Mistake, tmp_path: Path) -> None:
    folders.relay(tmp_path / "r")
    make(tmp_path / "r", tmp_path / "file", None, made=MADE)
    new = ("restore", "--data", tmp_path / "new", tmp_path / "file")
    assert "not of abc" in mistake(2, *new, "--expect", "abc")
    assert "--replace" in mistake(2, "restore", "--data", tmp_path / "r", tmp_path / "file")
    assert "Cannot read" in mistake(2, "restore", "--data", tmp_path / "new", tmp_path / "missing")
    assert not (tmp_path / "new").exists()
