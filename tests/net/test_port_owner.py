"""Whose program answers at a port: real tables of the kernel, made-up ones, and damaged ones."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from onionshh.net.port_owner import TABLES, strangers

THERE = ("127.0.0.1", 9051)
OURS = ("127.0.0.1", 40_000)
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
NOBODY = "00000000:0000"
MAPPED = "0000000000000000FFFF00000100007F"


def table(*rows: tuple[str, str, str, int]) -> str:
    lines = (
        f"   {number}: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 {user:5} 0 7865 1"
        for number, (local, remote, state, user) in enumerate(rows)
    )
    return HEAD + "\n".join(lines) + "\n"


@pytest.mark.skipif(sys.byteorder == "big", reason="the rows are of a machine of the usual order")
@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([("0100007F:235B", NOBODY, "0A", 1001)], {1001}),
        ([("00000000:235B", NOBODY, "0A", 1001)], {1001}),
        ([(32 * "0" + ":235B", 32 * "0" + ":0000", "0A", 1001)], {1001}),
        ([(f"{MAPPED}:235B", f"{MAPPED}:9C40", "01", 1001)], {1001}),
        ([("0100007F:235B", "0100007F:9C40", "01", 1001)], {1001}),
        ([("0100007F:235B", NOBODY, "0A", 0), ("0100007F:235B", "0100007F:9C40", "01", 1001)], {1001}),
        # The system's own, and those that have nothing to do with it.
        ([("0100007F:235B", NOBODY, "0A", 0)], set()),
        ([("0100007F:235B", NOBODY, "0A", 105)], set()),
        ([("0100007F:235B", NOBODY, "0A", 61_500)], set()),
        ([("0100007F:235B", NOBODY, "0A", 65_534)], set()),
        ([("0100007F:235C", NOBODY, "0A", 1001)], set()),
        ([("0200007F:235B", NOBODY, "0A", 1001)], set()),
        ([("0100007F:235B", "0100007F:9C41", "01", 1001)], set()),
        ([("0100007F:9C40", "0100007F:235B", "01", 1001)], set()),
    ],
)
def test_whose_port_it_is(rows: list[tuple[str, str, str, int]], found: set[int]) -> None:
    assert strangers(THERE, OURS, [table(*rows)]) == found


def test_ourselves_are_no_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1001)
    assert strangers(THERE, OURS, [table(("0100007F:235B", NOBODY, "0A", 1001))]) == set()


@pytest.mark.parametrize(
    "text", ["", "x", HEAD, HEAD + "0: 1 2 3\n", HEAD + "0: zz:zz 0:0 0A 0 0 0 0 0\n", "\n\0"]
)
def test_a_table_that_is_damaged_says_nothing(text: str) -> None:
    assert strangers(THERE, OURS, [text]) == set()


PROGRAM = """
import os, socket
there = socket.create_server(("127.0.0.1", 0))
os.setuid(4321)
there = socket.create_server(("127.0.0.1", 0))
print(there.getsockname()[1], flush=True)
end, _ = there.accept()
print("taken", flush=True)
end.recv(1)
"""


@pytest.mark.skipif(os.geteuid() != 0 or not TABLES[0].exists(), reason="only root can be another user")
def test_a_program_of_another_user() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        there = ("127.0.0.1", int(program.stdout.readline()))
        with socket.create_connection(there) as ours:
            assert program.stdout.readline() == "taken\n"
            assert strangers(there, ours.getsockname()) == {4321}
            ours.sendall(b".")
