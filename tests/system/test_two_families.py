"""Relays with an IPv4 and an IPv6 address, between real processes."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.processes import COMMAND, PATIENCE_SECONDS, running

HOST = "127.0.13"
RELAYS = 4
NOBODY = f"{HOST}.9:1"
"""Nobody listens there."""


def ports() -> Iterator[int]:
    """Free ports of ::1. They stay bound until all are chosen."""
    with ExitStack() as held:
        chosen = []
        for _ in range(RELAYS):
            sock = held.enter_context(socket.socket(socket.AF_INET6))
            sock.bind(("::1", 0))
            chosen.append(sock.getsockname()[1])
    return iter(chosen)


def has_ipv6() -> bool:
    try:
        next(ports())
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_a_network_whose_ipv4_addresses_are_dead_goes_over_ipv6(tmp_path: Path) -> None:
    file = tmp_path / "net.toml"
    with ExitStack() as stack:
        directory = stack.enter_context(
            running(
                *("directory", "--listen", f"{HOST}.100:0", "--data", tmp_path / "directory"),
                *("--network", file),
            )
        )
        directory.until(lambda line: "0 relays listed" in line)
        common = ("--network", file)
        for number, port in enumerate(ports()):
            relay = ("relay", *common, "--data", tmp_path / f"relay{number}", "--nickname", f"relay{number}")
            listen = ("--listen", f"{HOST}.1:0", "--listen", f"[::1]:{port}")
            advertise = ("--advertise", NOBODY, "--advertise", f"[::1]:{port}")
            process = stack.enter_context(running(*relay, *listen, *advertise))
            said = f"listed at [::1]:{port}; the directory has not reached it at {NOBODY}"
            process.until(lambda line, said=said: said in line)  # type: ignore[misc]
        both = ("relay", *common, "--data", tmp_path / "both", "--nickname", "both")
        listed = stack.enter_context(running(*both, "--listen", f"{HOST}.2:0", "--listen", "[::1]:0"))
        listed.until(lambda line: line.endswith(" listed"))
        host = stack.enter_context(running("host", *common, "--data", tmp_path / "me", "--echo"))
        address = host.until(lambda line: " endpoint shh1" in line).split()[-1]
        host.until(lambda line: " reachable through " in line)
        for command, wanted in (
            (("whisper", address, "hello", *common, "--data", tmp_path / "v"), "hello"),
            (("relays", *common, "--json"), None),
        ):
            done = subprocess.run(
                [*COMMAND, *map(str, command)],
                capture_output=True,
                text=True,
                timeout=PATIENCE_SECONDS,
                check=True,
            )
            assert wanted is None or done.stdout == wanted
        rows = {row["nickname"]: row["addresses"] for row in map(json.loads, done.stdout.splitlines())}
    assert [len(rows[f"relay{number}"]) for number in range(RELAYS)] == [1] * RELAYS
    four, six = rows["both"]
    assert four.startswith(f"{HOST}.2:")
    assert six.startswith("[::1]:")
