"""The configuration file: what it says, and each fault in one sentence with file, table and key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import pytest

from onionshh.cli.app import CONFIGURED, app
from onionshh.cli.config.file import AMOUNT, FILE_MOST, key_of, options_of, read_config
from onionshh.cli.failures import Usage

ID = "ab" * 32


def command(name: str) -> click.Command:
    found = app.get_command(click.Context(app), name)
    assert found is not None
    return found


def read(folder: Path, name: str, text: str | bytes) -> dict[str, Any]:
    file = folder / "made.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_config(file, command(name), CONFIGURED)


def test_keys_are_the_names_of_the_options(tmp_path: Path) -> None:
    text = f"""
        [relay]
        nickname = "mine"
        rate = 5
        family = ["{ID}"]
        [whisper]
        ttl = "3h"
        no_store = true
        class = "flash"
        json = false
        """
    assert read(tmp_path, "relay", text) == {"nickname": "mine", "rate": 5, "family": [ID]}
    assert read(tmp_path, "whisper", text) == {
        **{"ttl": "3h", "no_store": True, "privacy": "flash", "as_json": False}
    }
    assert read(tmp_path, "board", text) == {}
    assert read(tmp_path, "relay", b"\xef\xbb\xbf[relay]\r\nrate = 1\r\n") == {"rate": 1}


def test_paths_are_relative_to_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/somebody")
    text = '[whisper]\ndata = "a"\nnetwork = "../net.toml"\naddress-file = "-"\nfile = "~/letter"\n'
    assert read(tmp_path, "whisper", text) == {
        "data": str(tmp_path / "a"),
        "network": str(tmp_path.parent / "net.toml"),
        "address_file": "-",
        "file": "/somebody/letter",
    }


@pytest.mark.parametrize(
    "text, said",
    [
        ('[relay]\nnicknam = "x"', "nicknam in [relay] is no option; the nearest is nickname."),
        ("[relay]\nzzz = 1", "zzz in [relay] is no option; there is network, listen, data"),
        ("[rely]\nrate = 1", "there is no command for the table [rely]; the nearest is relay."),
        ("rate = 1", "rate stands in no table; put it below [relay]."),
        ("[relay]\nrate = 1\n[hst]\necho = true", "no command for the table [hst]; the nearest is host."),
        ('[relay]\nrate = "one"', "rate in [relay] needs a whole number, not a text."),
        (f'[relay]\nrate = "{"9" * 5000}"', "rate in [relay] needs a whole number, not a text."),
        ('[relay]\nrate = "-1"', "rate in [relay]: -1 is not in the range"),
        ("[relay]\nrate = 0x" + "f" * 5000, "rate in [relay] is larger than any number in TOML."),
        ("[relay]\nnickname = 0x" + "f" * 5000, "nickname in [relay] is larger than any number in TOML."),
        ("[relay]\nfamily = [9223372036854775808]", "family in [relay] is larger than any number in TOML."),
        ("[relay]\nrate = true", "rate in [relay] needs a whole number, not true or false."),
        ("[relay]\nrate = 1.5", "rate in [relay] needs a whole number"),
        ("[relay]\nrate = -1", "rate in [relay]: -1 is not in the range"),
        ("[relay]\nfamily = [1.5]", "family in [relay] needs a text in quotes, not a number."),
        ("[relay]\nnickname = true", "nickname in [relay] needs a text in quotes, not true or false."),
        ("[relay]\nmonthly = 5", "monthly in [relay]: 5 is too little or too much"),
        ("[relay]\nmonthly = -500000000000", "monthly in [relay]: -500000000000 is too little or too much"),
        ("[relay]\nlisten = 2026-01-01", "needs a text in quotes, not a date or time."),
        ("[relay.listen]\nport = 1", "listen in [relay] needs a text in quotes, not a table."),
        ('[relay]\ndata = ""', "data in [relay]: it is empty; give a path"),
        ("[relay]\ndata = 1", "data in [relay] needs a path in quotes"),
        ("[relay]\nconfig = 'x'", "config in [relay] is for the command line alone."),
        ("[relay]\nprint_config = true", "print_config in [relay] is for the command line alone."),
        ("[relay]\nno-such = 1\n", "no-such in [relay] is no option"),
        ("[relay", "is not valid TOML"),
        ("[relay]\nrate = 1\nrate = 2", "is not valid TOML"),
        (f"[relay]\nrate = {'9' * 5000}", "is not valid TOML"),
        ("[relay]\nfamily = " + "[" * 5000, "is not valid TOML"),
        (b"[relay]\nnickname = '\xff'", "is not UTF-8 text"),
        (b"#" * (FILE_MOST + 1), "is larger than any configuration file"),
    ],
)
def test_a_fault_is_one_sentence(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(Usage) as caught:
        read(tmp_path, "relay", text)
    assert said in str(caught.value)
    assert str(tmp_path / "made.toml") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, said",
    [
        ('[whisper]\nttl = "soon"', "ttl in [whisper]: 'soon' is not a time; write 90s, 30m, 3h or 3d."),
        ("[whisper]\nttl = inf", "ttl in [whisper]: 'inf' is not a time"),
        ("[whisper]\nttl = nan", "ttl in [whisper]: 'nan' is not a time"),
        ("[whisper]\nttl = -3", "ttl in [whisper]: '-3' is not a time"),
        ("[whisper]\nttl = true", "ttl in [whisper] needs a time"),
        ("[whisper]\nno-store = 1", "no-store in [whisper] needs true or false, not a number."),
        ("[whisper]\nno-store = true\nno_store = true", "no_store in [whisper] is there twice"),
        ("[whisper]\naddress = 'shh1'", "address in [whisper] is given on the command line, not in a file."),
    ],
)
def test_a_fault_of_a_visitor_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Usage) as caught:
        read(tmp_path, "whisper", text)
    assert said in str(caught.value)


@pytest.mark.parametrize("key", ["secret", "password", "private-key", "auth_token", "identity", "api_key"])
def test_a_secret_is_told_to_be_kept_elsewhere_and_not_shown(tmp_path: Path, key: str) -> None:
    with pytest.raises(Usage) as caught:
        read(tmp_path, "meet", f'[meet]\n{key} = "hunter2"')
    assert "looks like a secret, which never belongs here" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_key_cannot_steer_a_terminal(tmp_path: Path) -> None:
    with pytest.raises(Usage) as caught:
        read(tmp_path, "relay", '[relay]\n"\\u001b[2J\\u202e' + "x" * 100 + '" = 1')
    assert str(caught.value).isprintable()
    assert "\\x1b" in str(caught.value)
    assert "x" * 50 not in str(caught.value)


def test_what_is_no_file_and_one_that_is_open_to_all(tmp_path: Path) -> None:
    with pytest.raises(Usage, match=r"There is no configuration file at .*; --print-config shows"):
        read_config(tmp_path / "none", command("relay"), CONFIGURED)
    with pytest.raises(Usage, match="cannot be read: Is a directory"):
        read_config(tmp_path, command("relay"), CONFIGURED)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(Usage, match="is not a file"):
            read_config(path, command("relay"), CONFIGURED)
    file = tmp_path / "open"
    file.touch()
    file.chmod(0o666)
    with pytest.raises(Usage, match="Everyone on this machine can write to"):
        read_config(file, command("relay"), CONFIGURED)
    file.chmod(0o644)
    assert read_config(file, command("relay"), CONFIGURED) == {}


def test_a_number_may_stand_in_quotes_and_a_text_that_is_one_without(tmp_path: Path) -> None:
    text = '[relay]\nmetrics = "9160"\nrate = "5"\nnickname = "7"\nlisten = ["9001"]\n'
    numbers, texts = (read(tmp_path, "relay", said) for said in (text.replace('"', ""), text))
    assert numbers == {"metrics": "9160", "rate": 5, "nickname": "7", "listen": ["9001"]}
    assert texts == {"metrics": "9160", "rate": "5", "nickname": "7", "listen": ["9001"]}
    assert read(tmp_path, "whisper", "[whisper]\nttl = 90\nwait = 1.5\nhops = '2'\n") == {
        **{"ttl": 90, "wait": 1.5, "hops": "2"}
    }


@pytest.mark.parametrize("name", CONFIGURED)
def test_no_two_options_of_a_command_have_one_key(name: str) -> None:
    options = [one for one in command(name).params if isinstance(one, click.Option)]
    options = [one for one in options if not one.hidden]
    assert len({key_of(one) for one in options}) == len(options)
    assert len(options_of(command(name))) == len(options) - 2


def test_an_amount_is_written_as_on_the_command_line_or_as_a_number(tmp_path: Path) -> None:
    file = tmp_path / "made.toml"
    for given in ('"500GB"', "500000000000"):
        file.write_text(f"[relay]\nmonthly = {given}\n")
        file.chmod(0o600)
        assert str(read_config(file, command("relay"), CONFIGURED)["monthly"]) == given.strip('"')
    assert options_of(command("relay"))["monthly"].type.name == AMOUNT
    file.write_text("[relay]\nmonthly = true\n")
    with pytest.raises(Usage, match="an amount of bytes, as 750000000"):
        read_config(file, command("relay"), CONFIGURED)
