"""The units for systemd start commands that exist, leave them time to end, and let them do little."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

import onionshh.cli
from onionshh.cli.app import app
from onionshh.cli.draining import ANSWER_SECONDS, DRAIN_SECONDS
from onionshh.cli.ending import CLOSING_SECONDS

FOLDER = Path(onionshh.cli.__file__).parent / "operator"
UNITS = {
    "onionshh-relay@.service": "relay",
    "onionshh-host@.service": "host",
    "onionshh-directory.service": "directory",
}
PROGRAM = "/opt/onionshh/bin/onionshh"
EXPOSURE_MOST = 15
"""Of 100, as `systemd-analyze security` counts: 1.5 on its scale to 10."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (Debian: systemd)"
)


def settings(name: str) -> dict[str, list[str]]:
    """What the unit says, each setting with all its values."""
    found: dict[str, list[str]] = {}
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("name", UNITS)
def test_it_starts_a_command_with_options_that_it_has(name: str) -> None:
    (line,) = settings(name)["ExecStart"]
    program, command, *options = line.split()
    assert (program, command) == (PROGRAM, UNITS[name])
    made = app.get_command(click.Context(app), command)
    assert made is not None
    known = {option for one in made.params for option in one.opts}
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert {option for option in options if option.startswith("--")} <= known
    assert (
        set(re.findall(r"(?<= )--[a-z-]+|(?<==)--[a-z-]+", text.partition("[Unit]")[0])) - {"--now"} <= known
    )


@pytest.mark.parametrize("name", UNITS)
def test_it_has_time_to_end_and_is_watched(name: str) -> None:
    found = settings(name)
    assert found["Type"] == ["notify"]
    assert found["Restart"] == ["on-failure"]
    assert int(found["WatchdogSec"][0]) >= 30
    needs = DRAIN_SECONDS if UNITS[name] == "relay" else ANSWER_SECONDS
    assert int(found["TimeoutStopSec"][0]) > needs + CLOSING_SECONDS
    if UNITS[name] == "relay":
        assert f"--drain-seconds {DRAIN_SECONDS} " in found["ExecStart"][0]


def test_all_have_the_same_limits() -> None:
    limits = [
        (FOLDER / name).read_text(encoding="utf-8").partition("# What it may see and do")[2] for name in UNITS
    ]
    assert len(set(limits)) == 1
    assert "ProtectSystem=strict" in limits[0]


def test_each_is_shipped() -> None:
    project = (FOLDER.parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert '"cli/operator/*"' in project
    assert {path.name for path in FOLDER.iterdir()} == {*UNITS, "Containerfile"}


def _placed(name: str, folder: Path) -> Path:
    """The unit as an instance that can be looked at here, where its program is not installed."""
    path = folder / name.replace("@.", "@one.")
    text = (FOLDER / name).read_text(encoding="utf-8")
    path.write_text(text.replace(PROGRAM, shutil.which("true") or "/bin/true"), encoding="utf-8")
    return path


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_nothing_wrong(name: str, tmp_path: Path) -> None:
    command = ["systemd-analyze", "verify", "--man=no", str(_placed(name, tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_little_exposed(name: str, tmp_path: Path) -> None:
    options = ("--offline=yes", f"--threshold={EXPOSURE_MOST}", "--no-pager")
    command = ["systemd-analyze", "security", *options, str(_placed(name, tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd is too old to look at units that are not loaded")
    assert done.returncode == 0, done.stdout
