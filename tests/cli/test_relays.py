"""`onionshh relays`: what a directory serves, checked against the network file, as a table or as objects."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh import testing
from onionshh.cli import main
from onionshh.cli.relays import WIDE
from onionshh.config import Authority, NetworkFile, format_network_file

RELAYS = 3
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made() -> tuple[NetworkFile, bytes]:
    """A network, and the list that its authority has signed by now."""

    async def make() -> tuple[NetworkFile, bytes]:
        async with testing.network(RELAYS, wall_start=int(time.time()) - 60, seed=1) as net:
            return net.file, net.authority.document

    return trio.run(make, clock=MockClock(autojump_threshold=0))


@pytest.fixture
def served(made: tuple[NetworkFile, bytes], tmp_path: Path) -> Iterator[Path]:
    """A network file whose directory serves that list."""
    file, document = made

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200)
            self.send_header("Content-Length", str(len(document)))
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        only = Authority(f"http://127.0.0.1:{server.server_port}", file.authorities[0].key)
        path = tmp_path / "net.toml"
        path.write_text(format_network_file(NetworkFile(file.name, 1, (only,))))
        yield path
        server.shutdown()
        thread.join()


def test_one_object_a_relay(served: Path, capsys: Captured) -> None:
    assert main(["relays", "--network", str(served), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(row["nickname"] for row in rows) == ["relay1", "relay2", "relay3"]
    for row in rows:
        names = ["nickname", "id", "address", "addresses", "flags", "weight", "first_seen", "software"]
        assert list(row) == names
        assert len(bytes.fromhex(row["id"])) == 32
        assert row["weight"] > 0


def test_a_table_whose_shares_are_a_whole(served: Path, capsys: Captured) -> None:
    assert main(["relays", "--network", str(served)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["Nickname", "Address"]
    assert [line.split()[0] for line in lines[1 : 1 + RELAYS]] == ["relay1", "relay2", "relay3"]
    assert all(f" onionshh {onionshh.__version__} " in line for line in lines[1 : 1 + RELAYS])
    assert max(map(len, lines)) <= WIDE  # in a file or a pipe no terminal says how wide it is
    shares = [float(line.partition(" %")[0].split()[-1]) for line in lines[1 : 1 + RELAYS]]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert lines[-2].startswith(f"{RELAYS} relays of testing, as of ")
    assert lines[-1] == "Not enough for whispers: a path takes 4 relays, and the network has 3."


def test_a_list_that_another_key_has_signed_is_not_shown(served: Path, capsys: Captured) -> None:
    other = served.read_text()
    key = other.partition('key = "')[2].partition('"')[0]
    served.write_text(other.replace(key, key[:-8] + "AAAAAAA=" if key.endswith("=") else "0" * len(key)))
    assert main(["relays", "--network", str(served), "--json"]) != 0
    out, err = capsys.readouterr()
    assert list(json.loads(out)) == ["error"]
    assert "relay1" not in out + err
