"""Whispers through a SOCKS5 proxy, between real processes: everything goes through it, or nothing goes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from onionshh.config import Authority, format_network_file
from onionshh.net.network_file import read_network_file
from tests.net.proxies import Proxy
from tests.net.proxies import running as proxying
from tests.system.processes import PATIENCE_SECONDS, running

NAME = "directory.invalid"
"""Nobody but the proxy knows where this leads."""
AUDITED = """
import sys

def audit(event, arguments):
    if event == "socket.connect" and arguments[0].family != 1:  # not over a path
        print("CONNECT %s:%s" % arguments[1][:2], file=sys.stderr)
    if event == "socket.getaddrinfo" and not str(arguments[0]).startswith("127."):
        print("LOOKED UP", arguments[0], file=sys.stderr)

sys.addaudithook(audit)
from onionshh.cli import main
sys.exit(main(sys.argv[1:]))
"""


@contextmanager
def served(proxy: Proxy) -> Iterator[None]:
    """The proxy runs in a thread until the block ends."""
    ready = threading.Event()
    over = trio.Event()
    token: list[trio.lowlevel.TrioToken] = []

    async def run() -> None:
        async with proxying(proxy):
            token.append(trio.lowlevel.current_trio_token())
            ready.set()
            await over.wait()

    thread = threading.Thread(target=trio.run, args=(run,))
    thread.start()
    assert ready.wait(PATIENCE_SECONDS)
    try:
        yield
    finally:
        token[0].run_sync_soon(over.set)
        thread.join()


def audited(*arguments: object) -> tuple[int, str, list[str], list[str]]:
    """Status and stdout of a command, what it said, and everything it connected to or looked up."""
    done = subprocess.run(
        [sys.executable, "-c", AUDITED, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    lines = done.stderr.splitlines()
    marks = ("CONNECT ", "LOOKED UP ")
    said = [line for line in lines if not line.startswith(marks)]
    return done.returncode, done.stdout, said, [line for line in lines if line.startswith(marks)]


def test_everything_goes_through_the_proxy_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("ONIONSHH_NETWORK", raising=False)
    with running("network", "--relays", 5) as network:
        network.until(lambda line: " relays listed; ready." in line)
        plain = read_network_file(tmp_path / "state" / "onionshh" / "one-machine" / "network.toml")
        [authority] = plain.authorities
        port = int(authority.url.rpartition(":")[2])
        named = replace(plain, authorities=(Authority(f"http://{NAME}:{port}", authority.key),))
        file = tmp_path / "named.toml"
        file.write_text(format_network_file(named))
        proxy = Proxy({NAME: ("127.0.0.1", port)}, login=(b"me", b"s3cret"))
        with served(proxy):
            via = ("--network", file, "--via", f"socks5://me:s3cret@127.0.0.1:{proxy.port}")
            with running("host", "--data", tmp_path / "me", "--echo", *via) as host:
                address = host.until(lambda line: " endpoint shh1" in line).split()[-1]
                host.until(lambda line: " reachable through " in line)
                asked = len(proxy.asked)
                status, out, said, touched = audited(
                    "whisper", address, "hello", "--data", tmp_path / "v", *via
                )
                assert (status, out) == (0, "hello"), said
                assert set(touched) == {f"CONNECT 127.0.0.1:{proxy.port}"}
                hosts = [(one.kind, one.port) for one in proxy.asked[asked:]]
                assert (3, port) in hosts  # the directory, by its name
                assert [kind for kind, _ in hosts if kind == 1] != []  # its guards
                status, out, said, touched = audited("relays", "--json", *via)
                assert status == 0
                assert [json.loads(line)["nickname"] for line in out.splitlines()] != []
                assert set(touched) == {f"CONNECT 127.0.0.1:{proxy.port}"}
                status, out, said, touched = audited("relays", "--why", *via)
                assert (status, out) == (0, "0 relays are known and not listed.\n"), said
                assert set(touched) == {f"CONNECT 127.0.0.1:{proxy.port}"}
        # The proxy has gone.
        status, _, said, touched = audited("whisper", address, "hello", "--data", tmp_path / "w", *via)
        assert status == 1
        assert set(touched) == {f"CONNECT 127.0.0.1:{proxy.port}"}
        assert any("the proxy does not answer (Connection refused)" in line for line in said), said
        assert not any("s3cret" in line for line in said)
