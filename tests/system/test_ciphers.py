"""Nodes with the compiled cipher and nodes with Python's are one network (SPEC 3)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from onionshh.crypto.uiv import PURE, PYTHON, compiled
from tests.system.processes import COMMAND, PATIENCE_SECONDS, running

RELAYS = 8
NAMES = {"": "compiled" if compiled() else PYTHON.name, "1": PYTHON.name}
"""By the environment variable: what a process says."""


@pytest.mark.parametrize(("relays", "people"), [("", "1"), ("1", "")], ids=["relays", "people"])
def test_a_whisper_goes_through_relays_of_the_other_cipher(
    relays: str, people: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`relays`, `people`: what the environment of their processes says. 60 000 bytes are some hundred cells
    each way; no cell would pass if one layer differed."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    file = tmp_path / "onionshh" / "one-machine" / "network.toml"
    monkeypatch.setenv(PURE, relays)
    with running("network", "--relays", RELAYS) as network:
        network.until(lambda line: f"{RELAYS} relays listed; ready." in line)
        extra = ("relay", "--network", file, "--listen", "127.0.0.1:0", "--data", tmp_path / "relay")
        with running(*extra, "--nickname", "extra") as relay:
            relay.until(lambda line: line.endswith(f"cipher: {NAMES[relays]}"))
        monkeypatch.setenv(PURE, people)
        said = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True).stdout
        assert said.endswith(f", cipher: {NAMES[people]}\n")
        with running("host", "--network", file, "--data", tmp_path / "host", "--echo", "--json") as host:
            address = host.event("address")["address"]
            host.event("reachable")
            body = "x" * 60_000
            where = ("--network", str(file), "--data", str(tmp_path / "visitor"), "--hops", "3")
            done = subprocess.run(
                [*COMMAND, "whisper", address, *where],
                input=body,
                capture_output=True,
                text=True,
                timeout=PATIENCE_SECONDS,
                check=False,
            )
            assert (done.returncode, done.stdout) == (0, body), done.stderr
