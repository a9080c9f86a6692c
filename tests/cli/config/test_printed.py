"""`--print-config`: what it prints is a file that gives the same again, for every command."""

from __future__ import annotations

import tomllib
from pathlib import Path

import click
import pytest

from onionshh.cli import main
from onionshh.cli.app import CONFIGURED, app
from onionshh.cli.config.command import Configured, start_of
from onionshh.cli.config.file import options_of
from onionshh.cli.config.printed import printed
from onionshh.cli.monthly import BYTES
from onionshh.cli.options import DURATION, PATH
from tests.cli.conftest import Mistake

Print = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONIONSHH_NETWORK", raising=False)


def made(name: str) -> Configured:
    command = app.get_command(click.Context(app), name)
    assert isinstance(command, Configured)
    return command


WILD = 'q "q" \\ … \u202e \x7f \N{GRINNING FACE}\n'
PLAIN = "9160"


def everything(command: Configured, text: str) -> list[str]:
    """A value that is not the default for every option. `text`: of those that take a text."""
    words: list[str] = []
    for key, option in options_of(command).items():
        if option.is_flag:
            words.append(f"--{key}")
        elif option.type is BYTES:
            words += [f"--{key}", "1500000"]
        elif isinstance(option.type, click.Choice):
            words += [f"--{key}", str(option.type.choices[-1])]
        elif isinstance(option.type, click.IntRange):
            words += [f"--{key}", str((option.type.min or 0) + 1)]
        elif isinstance(option.type, click.types.IntParamType):
            words += [f"--{key}", "11"]
        elif option.type is DURATION:
            words += [f"--{key}", "1.5"]
        elif option.type is PATH:
            words += [f"--{key}", f"a folder/{key}"]
        else:
            words += [f"--{key}", text]
            words += [f"--{key}", "more"] * option.multiple
    return words


@pytest.mark.parametrize("name", CONFIGURED)
@pytest.mark.parametrize("given", ["", WILD, PLAIN, "007", "9" * 30])
def test_what_is_printed_gives_the_same_again(
    name: str, given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Print
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    words = everything(made(name), given) if given else []
    assert main([name, *words, "--print-config"]) == 0
    first = capsys.readouterr().out
    file = tmp_path / "there" / "made.toml"
    file.write_text(first)
    monkeypatch.chdir(tmp_path)
    assert main([name, "--config", str(file), "--print-config"]) == 0
    assert capsys.readouterr().out == first

    table = tomllib.loads(first)[name]
    if given:
        assert list(table) == list(options_of(made(name)))
    values = [_values(name, *words), _values(name, "--config", str(file))]
    assert values[1] == {
        key: tmp_path / "here" / value if isinstance(value, Path) else value
        for key, value in values[0].items()
    }


def _values(name: str, *words: str) -> dict[str, object]:
    command = made(name)
    context = click.Context(command, info_name=name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(click.Command, "parse_args", lambda self, ctx, args: args)
        command.parse_args(context, list(words))
    start = start_of(context)
    assert start is not None
    values = start.values().params
    values.pop("config")
    return values


def test_each_option_has_its_help_and_what_is_missing_its_place(capsys: Print) -> None:
    assert main(["relay", "--print-config"]) == 0
    text = capsys.readouterr().out
    for option in options_of(made("relay")).values():
        first = (option.help or "").split()[:4]
        assert " ".join(first) in text
    assert '# listen = ["HOST:PORT"]' in text
    assert "\n# month-day = N\n" in text
    assert " [default: off]\n# metrics" in text
    assert "port 0: any free port" in text
    assert "\nrate = 0\n" in text


def test_numbers_are_printed_as_numbers(capsys: Print) -> None:
    """Also where an option takes a text, as a port."""
    words = ["--metrics", "9160", "--monthly", "500GB", "--month-day", "2", "--family", "7"]
    assert main(["relay", *words, "--nickname", "007", "--print-config"]) == 0
    table = tomllib.loads(capsys.readouterr().out)["relay"]
    assert (table["metrics"], table["monthly"], table["month-day"]) == (9160, 500_000_000_000, 2)
    assert (table["family"], table["nickname"]) == ([7], "007")


@pytest.mark.parametrize("seconds", ["0.1", "90", "9007199254740993", "9" * 40])
def test_a_time_is_the_same_again_however_long(seconds: str, tmp_path: Path, capsys: Print) -> None:
    assert main(["whisper", "--ttl", seconds, "--print-config"]) == 0
    file = tmp_path / "made.toml"
    file.write_text(capsys.readouterr().out)
    assert _values("whisper", "--config", str(file))["ttl"] == float(seconds)


def test_what_is_wrong_is_not_printed(mistake: Mistake, tmp_path: Path) -> None:
    assert "is not in the range" in mistake(2, "relay", "--rate", "-1", "--print-config")
    (tmp_path / "f").write_text("[relay]\nrate = 'x'\n")
    assert "rate in [relay]" in mistake(2, "relay", "--print-config", "--config", tmp_path / "f")
    assert "not valid UTF-8" in mistake(2, "relay", "--print-config", "--data", "\udcff")


def test_stdin_stays_stdin(capsys: Print) -> None:
    assert main(["whisper", "--file", "-", "--print-config"]) == 0
    assert '\nfile = "-"\n' in capsys.readouterr().out
    assert printed(made("reasons"), click.Context(made("reasons"))).endswith("[reasons]\n")


def test_the_password_of_a_proxy_is_in_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Print
) -> None:
    monkeypatch.setenv("ONIONSHH_VIA", "socks5://bob:hunter2@127.0.0.1:1080")
    assert main(["relays", "--print-config"]) == 0
    assert "hunter2" not in capsys.readouterr().out
    monkeypatch.delenv("ONIONSHH_VIA")
    file = tmp_path / "made.toml"
    file.write_text('[relays]\nvia = "socks5://bob:hunter2@127.0.0.1:1080"\n')
    assert main(["relays", "--config", str(file)]) == 2
    said = capsys.readouterr().err
    assert "put it into ONIONSHH_VIA" in said
    assert "hunter2" not in said
