"""`onionshh master`: each step as a person takes it, and each mistake."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from onionshh.cli import main
from onionshh.cli.master import DAYS
from onionshh.core.certificate import expires_of
from onionshh.net.store import DataDirectory
from onionshh.relay.keys import KEYS_FILE, RelayKeys
from onionshh.relay.master import read_master
from onionshh.relay.signing_file import SIGNING_FILE, read_signing
from tests.cli.conftest import Mistake

DAY = 86_400


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(one) for one in ("master", *arguments)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def relay_of(text: str) -> str:
    found = re.search(r"^relay ([0-9a-f]{64})$", text, re.MULTILINE)
    assert found is not None
    return found.group(1)


def test_a_new_relay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, relay = tmp_path / "r.master", tmp_path / "relay"
    relay_id = relay_of(said(capsys, "new", file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert said(capsys, "show", file).strip() == relay_id
    relay.mkdir(mode=0o700)
    text = said(capsys, "sign", file, "--to", relay)
    assert relay_of(text) == relay_id
    assert f"It belongs into the relay's folder, under the name relay-signing. Keep {file} here." in text
    keys = RelayKeys(DataDirectory(relay), os.urandom)
    assert keys.relay_id.hex() == relay_id
    left = expires_of(keys.signer.signing) - file.stat().st_mtime
    assert abs(left - DAYS * DAY) < 600
    assert RelayKeys(DataDirectory(relay), os.urandom).onion_keys() == keys.onion_keys()


def test_a_relay_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    relay, file = tmp_path / "relay", tmp_path / "r.master"
    before = RelayKeys(DataDirectory(relay), os.urandom)
    text = said(capsys, "take", file, "--data", relay, "--days", 3)
    assert relay_of(text) == before.relay_id.hex()
    assert "Destroy older backups" in text
    assert read_master(file).open().seed == before.signer.key.seed
    assert before.signer.key.seed not in (relay / KEYS_FILE).read_bytes()
    for to, days in ((relay / SIGNING_FILE, 4), (relay, 5)):
        text = said(capsys, "sign", file, "--to", to, "--days", days)
        assert "It lies in the relay's folder. The relay takes it within 5 minutes" in text
        assert "belongs" not in text
    carried = said(capsys, "sign", file, "--to", relay / "other-name")  # which no relay looks for
    assert "It belongs into the relay's folder, under the name relay-signing" in carried
    renewed = read_signing(relay / SIGNING_FILE)
    assert renewed is not None
    assert renewed.identity == before.relay_id


def test_under_a_passphrase(tmp_path: Path, capsys: pytest.CaptureFixture[str], mistake: Mistake) -> None:
    file, words, wrong = tmp_path / "r.master", tmp_path / "words", tmp_path / "wrong"
    words.write_text("correct horse battery\nsecond line\n")
    wrong.write_text("correct horse\n")
    for each in (words, wrong):
        each.chmod(0o600)
    said(capsys, "new", file, "--passphrase-file", words)
    said(capsys, "sign", file, "--to", tmp_path, "--passphrase-file", words)
    sign = ("master", "sign", file, "--to", tmp_path / "other")
    assert "does not open" in mistake(2, *sign, "--passphrase-file", wrong)
    assert "--passphrase-file" in mistake(2, *sign), "there is no terminal to ask"
    assert not (tmp_path / "other").exists()


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str], mistake: Mistake) -> None:
    file, relay = tmp_path / "r.master", tmp_path / "relay"
    said(capsys, "new", file)
    before = file.read_bytes()
    assert "there already" in mistake(2, "master", "new", file)
    assert "no master file" in mistake(2, "master", "sign", tmp_path / "none", "--to", tmp_path)
    assert "--days" in mistake(2, "master", "sign", file, "--to", tmp_path, "--days", 4000)
    assert "no folder" in mistake(2, "master", "take", tmp_path / "m", "--data", relay)
    short = tmp_path / "short"
    short.write_text("1234567")
    short.chmod(0o600)
    assert "8 characters" in mistake(2, "master", "new", tmp_path / "m", "--passphrase-file", short)
    RelayKeys(folder := DataDirectory(relay), os.urandom)
    inside = mistake(2, "master", "take", relay / "m", "--data", relay)
    assert "relay's own folder" in inside
    assert "folder of another relay" in mistake(2, "master", "sign", file, "--to", relay)
    assert not (relay / SIGNING_FILE).exists()
    with folder.lock():
        assert "in use" in mistake(1, "master", "take", tmp_path / "m", "--data", relay)
    assert not (tmp_path / "m").exists()
    assert file.read_bytes() == before


def test_its_help_leads_through_it(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "--help")
    assert said(capsys) == text
    for command in ("new", "take", "sign", "show"):
        assert command in text
        assert "Example" in said(capsys, command, "--help")
