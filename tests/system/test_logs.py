"""`--log-format json` and systemd's journal, with programs that run: no stray line, on either stream."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.system.processes import COMMAND, PATIENCE_SECONDS, Running

JSON = ("--log-format", "json", "--log-level", "debug")


def messages(lines: list[str]) -> list[str]:
    """What these lines say, each with the four keys."""
    objects = [json.loads(line) for line in lines]
    for one in objects:
        assert set(one) == {"time", "level", "logger", "message"}, one
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one["time"])
    return [one["message"] for one in objects]


def test_every_line_is_an_object(tmp_path: Path) -> None:
    network = tmp_path / "net.toml"
    where = ("--network", network, *JSON)
    started: list[Running] = []
    try:
        at = ("--listen", "127.0.0.1:0")
        directory = Running("directory", *at, "--data", tmp_path / "dir", *where, "--metrics", ":0")
        started.append(directory)
        directory.until(lambda line: "relays listed" in line)
        relays = [Running("relay", *at, "--data", tmp_path / f"r{number}", *where) for number in range(2)]
        started += relays
        for relay in relays:
            relay.until(lambda line: '"listed' in line)
        host = Running("host", "--data", tmp_path / "host", *where, "--json")
        started.append(host)
        started[1].end()
        gone = directory.until(lambda line: " left: " in line)
        for running in (*started[2:], directory):
            running.end(signal.SIGINT)
        again = Running("relay", *at, "--data", tmp_path / "r0", *where, "--bogus")
        started.append(again)
        assert again.wait() == 2
    finally:
        for running in started:
            running.destroy()
    for running in started:
        messages(running.errors)
        if running is not host:
            messages(running.lines)
    assert "numbers for Prometheus" in messages(directory.errors)[0]
    assert re.fullmatch(r"unnamed \([0-9a-f]{8}\) left: it did not answer .*", messages([gone])[0])
    assert "No such option" in messages(again.errors)[0]


@pytest.mark.parametrize("asked", [(), ("--log-format", "text")])
def test_in_the_journal_lines_have_a_level_and_no_date(tmp_path: Path, asked: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    about = os.fstat(writing)
    missing = ("relay", "--network", tmp_path / "none.toml", "--listen", "127.0.0.1:0", "--data", tmp_path)
    with os.fdopen(reading, "rb") as said:
        done = subprocess.run(
            [*COMMAND, *map(str, missing), *asked],
            stderr=writing,
            env={**os.environ, "JOURNAL_STREAM": f"{about.st_dev}:{about.st_ino}"},
            timeout=PATIENCE_SECONDS,
        )
        os.close(writing)
        lines = said.read().decode().splitlines()
    assert done.returncode == 2
    assert [line[:3] for line in lines] == ["<4>", "<3>"]
    assert not any(re.search(r"\d\d:\d\d|onionshh: ", line) for line in lines)
