"""The command line as people use it: separate processes on separate loopback addresses.

One network serves the whole file: an authority, eight relays and an echoing endpoint, started together as a
script would. Every process is ended by a signal, must end by itself with status 0, and must have
left no traceback.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from onionshh import Identity
from onionshh.cli import main
from onionshh.core.paths.guards import GuardSet
from tests.system.processes import COMMAND, PATIENCE_SECONDS, Running, heeds, running, until

RELAYS = 8
SIZES = (1, 256, 65_535)
PROC_NET = Path("/proc/net/tcp")
ESTABLISHED, LISTENING = "01", "0A"
EARLIER: set[tuple[str, str]] = set()
"""Both ends of connections from before this network was; the kernel remembers them for a minute."""


class Network:
    """What the tests share. Relay n listens and dials at 127.0.7.n."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "net.toml"
        self.host: Running
        self.address = ""
        self.rows: list[dict[str, Any]] = []
        self.relay_pids: list[int] = []

    def piped_host(self, name: str) -> AbstractContextManager[Running]:
        """Another endpoint, with a program at both ends of its pipe."""
        command = ("host", "--network", self.file, "--data", self.folder / name, "--json")
        return running(*command, stdin=subprocess.PIPE)

    def whisper(
        self, body: bytes, *options: object, to: str = "", status: int = 0, data: str = "visitor"
    ) -> dict[str, Any]:
        """What `whisper --json` says of a body given on stdin."""
        common = ("--network", self.file, "--data", self.folder / data, "--json")
        command = ("whisper", to or self.address, "-", *common, *options)
        done = subprocess.run(
            [*COMMAND, *map(str, command)],
            input=body,
            capture_output=True,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == status, (done.stdout, done.stderr)
        assert b"Traceback" not in done.stderr
        return cast(dict[str, Any], json.loads(done.stdout))

    def guards(self, data: str) -> set[str]:
        """The addresses of the two guards in use, as `address:port`."""
        sample = GuardSet.from_document_untrusted((self.folder / data / "guards").read_bytes()).sample
        addresses = {row["id"]: row["address"] for row in self.rows}
        return {addresses[identity.hex()] for identity in sample[:2]}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    net = Network(tmp_path_factory.mktemp("network"))
    EARLIER.update((here, there) for here, there, _ in connections())
    with ExitStack() as stack:
        authority = stack.enter_context(
            running(
                *("directory", "--listen", "127.0.7.100:0", "--data", net.folder / "directory"),
                *("--network", net.file, "--bind", "127.0.7.100"),
            )
        )
        authority.until(lambda line: "0 relays listed" in line)
        common = ("--network", net.file)
        relays = [
            stack.enter_context(
                running(
                    *("relay", *common, "--listen", f"127.0.7.{n}:0", "--bind", f"127.0.7.{n}"),
                    *("--data", net.folder / f"relay{n}", "--nickname", f"relay{n}"),
                )
            )
            for n in range(1, RELAYS + 1)
        ]
        net.relay_pids = [relay.process.pid for relay in relays]
        host = ("host", *common, "--data", net.folder / "host", "--echo", "--json", "--bind", "127.0.7.101")
        net.host = stack.enter_context(running(*host))
        for relay in relays:
            relay.until(lambda line: line.endswith(" listed"))
        net.address = net.host.event("address")["address"]
        net.host.event("reachable")
        done = subprocess.run(
            [*COMMAND, "relays", *map(str, common), "--json"],
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=True,
        )
        net.rows = [json.loads(line) for line in done.stdout.splitlines()]
        yield net


def connections() -> Iterator[tuple[str, str, str]]:
    """Both ends and the state of each, as the kernel writes them."""
    for line in PROC_NET.read_text().splitlines()[1:]:
        here, there, state = line.split()[1:4]
        if state != LISTENING:
            yield here, there, state


def connected(address: str, *, ended: bool = True) -> set[str]:
    """Whom connections from this local address lead to, those that have just ended included or not."""
    found = set()
    for here, there, state in connections():
        if (here, there) in EARLIER or (not ended and state != ESTABLISHED):
            continue
        if _host(here) == address:
            found.add(_readable(there))
        elif _host(there) == address:  # the other side of the same connection
            found.add(_readable(here))
    return found


def _host(text: str) -> str:
    raw = bytes.fromhex(text.partition(":")[0])
    return ".".join(str(one) for one in (reversed(raw) if sys.byteorder == "little" else raw))


def _readable(text: str) -> str:
    return f"{_host(text)}:{int(text.partition(':')[2], 16)}"


@contextmanager
def watched(address: str) -> Iterator[set[str]]:
    """Everyone that connections from this address lead to while the block runs."""
    seen: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.03):
            seen.update(connected(address))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
        seen.update(connected(address))


def test_relays_are_listed_as_documented(network: Network) -> None:
    assert len(network.rows) == RELAYS
    assert {row["nickname"] for row in network.rows} == {f"relay{n}" for n in range(1, RELAYS + 1)}
    for row in network.rows:
        names = ["nickname", "id", "address", "addresses", "flags", "weight", "first_seen", "software"]
        assert list(row) == names
        assert row["address"].startswith(f"127.0.7.{row['nickname'].removeprefix('relay')}:")


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="this system knows no long turns")
def test_relays_ask_for_long_turns(network: Network) -> None:
    assert {os.sched_getscheduler(pid) for pid in network.relay_pids} == {os.SCHED_BATCH}


def test_a_table_for_people(network: Network, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["relays", "--network", str(network.file)]) == 0
    shown = capsys.readouterr().out
    assert all(row["address"] in shown and row["nickname"] in shown for row in network.rows)


@pytest.mark.parametrize("hops", range(4))
def test_whispers_come_back_whole(network: Network, hops: int) -> None:
    """Every size; and with at least one hop nobody but the two guards and the directory sees the visitor."""
    bind, data = f"127.0.7.{110 + hops}", f"visitor{hops}"
    with watched(bind) as seen:
        for size in SIZES:
            body = os.urandom(size)
            found = network.whisper(body, "--hops", hops, "--bind", bind, data=data)
            assert list(found)[:7] == [
                *("status", "why", "id", "hops", "class", "connect_seconds", "round_trip_seconds")
            ]
            assert (found["status"], found["why"], found["hops"]) == ("delivered", "", hops)
            assert found["class"] == "talk"
            assert 0 < found["connect_seconds"] < PATIENCE_SECONDS
            assert 0 < found["round_trip_seconds"] < PATIENCE_SECONDS
            reply = found["reply"].encode() if "reply" in found else base64.b64decode(found["reply_base64"])
            assert reply == body
    directory = {one for one in seen if one.startswith("127.0.7.100:")}
    assert directory, "the first start asks the directory"
    relays = seen - directory
    assert relays
    if hops:
        assert relays <= network.guards(data)


def test_the_endpoint_connects_to_its_guards_alone(network: Network) -> None:
    network.whisper(b"x")
    relays = {one for one in connected("127.0.7.101") if not one.startswith("127.0.7.100:")}
    assert relays
    assert relays <= network.guards("host")


def test_a_reply_as_people_see_it(network: Network) -> None:
    command = ["whisper", "--network", str(network.file), network.address, "Grüße\n", "--data"]
    done = subprocess.run(
        [*COMMAND, *command, str(network.folder / "visitor")],
        capture_output=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0
    assert done.stdout == "Grüße\n".encode()
    assert done.stderr.startswith(b"onionshh: delivered over ")


def test_what_a_signal_ended_undelivered_was_not_delivered(network: Network) -> None:
    """`onionshh whisper … && rm letter` must not lose the letter."""
    nobody = Identity.generate().address
    for number, options in ((signal.SIGTERM, ()), (signal.SIGINT, ("--json",)), (signal.SIGHUP, ())):
        command = ("whisper", "--network", network.file, nobody, "x", "--ttl", 60, "--wait", 60, *options)
        address = f"127.0.7.{130 + number}"
        with running(*command, "--data", network.folder / "visitor", "--bind", address) as visitor:
            until(lambda address=address: connected(address, ended=False))  # type: ignore[misc]
            visitor.process.send_signal(number)
            assert visitor.wait() == 1
            said = visitor.lines if options else visitor.errors
            assert "interrupted" in said[-1] or "no endpoint is published" in said[-1]


def test_who_waits_for_a_reply_is_told_that_the_whisper_was_delivered(network: Network) -> None:
    with running("host", "--network", network.file, "--data", network.folder / "silent") as host:
        address = host.until(lambda line: " endpoint shh1" in line).split()[-1]
        host.until(lambda line: " reachable through " in line)
        with running(
            "whisper", "--network", network.file, address, "x", "--wait", 6, "--data", network.folder / "v2"
        ) as visitor:
            visitor.until(lambda line: "delivered; waiting for a reply" in line, of=visitor.errors)
            assert visitor.wait() == 0
            assert "; no reply came." in visitor.errors[-1]


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_reply_that_cannot_be_written_is_no_reason_to_send_again(
    network: Network, options: tuple[str, ...]
) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [
                *(*COMMAND, "whisper", network.address, "hello"),
                *("--network", str(network.file), "--data", str(network.folder / "full"), *options),
            ],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
    assert done.returncode == 3
    assert "The whisper was delivered" in done.stderr
    assert "Do not send it again" in done.stderr


def test_no_such_endpoint(network: Network) -> None:
    """An address that nobody hosts is told apart from one that does not answer."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from onionshh import Identity; print(Identity.generate().address)",
        ],
        capture_output=True,
        check=True,
        text=True,
    )
    found = network.whisper(b"x", "--wait", 6, to=done.stdout.strip(), status=1)
    assert found["status"] == "failed"
    assert found["why"].startswith("no endpoint is published under this address")
    assert (found["hops"], found["connect_seconds"], found["reply"]) == (None, None, None)


def test_a_program_on_both_ends_of_the_pipe(network: Network) -> None:
    """Replies by line, in any order; a restart after kill -9 shows what was not finished, and that alone."""
    with network.piped_host("piped") as first:
        address = first.event("address")["address"]
        first.event("reachable")
        sent = {}
        for body in (b"answered", b"done", b"not yet", b"\xff"):
            found = network.whisper(body, "--wait", 0, to=address)
            assert (found["status"], found["reply"]) == ("delivered", None)
            sent[found["id"]] = body
        shown = {}
        for number in range(len(sent)):
            event = first.event("whisper", after=2 + number)
            assert list(event)[:3] == ["event", "id", "received_at"]
            assert abs(event["received_at"] - time.time()) < 60
            text = event["body"].encode() if "body" in event else base64.b64decode(event["body_base64"])
            shown[event["id"]] = text
        assert shown == sent
        ids = {body: one for one, body in sent.items()}
        lines = len(first.lines)
        first.send({"reply_to": ids[b"answered"], "body": "x" * 65_536})
        assert "at most 65535 bytes" in first.until(lambda line: "error" in line, after=lines)
        first.send({"reply_to": ids[b"answered"], "body": "reply"})
        first.send({"done": ids[b"done"]})
        first.send({"done": ids[b"done"]})
        said = json.loads(first.until(lambda line: "waits for an answer" in line, after=lines))
        assert list(said) == ["error"]
        first.kill()

    away = network.whisper(b"anybody?", "--wait", 2, to=address, status=1)
    assert away["status"] in ("failed", "sent")
    assert away["why"].endswith("nothing more is sent")
    assert "introducer" in away["why"] or "does not answer" in away["why"]

    with network.piped_host("piped") as again:
        assert again.event("address")["address"] == address
        for number, body in enumerate((b"not yet", b"\xff"), 1):
            event = again.event("whisper", after=number)
            assert event["id"] == ids[body]
        again.send({"reply_to": ids[b"not yet"], "body": "late"})
        again.send({"done": ids[b"\xff"]})
        again.event("reachable")
        with running(
            *("whisper", "--network", network.file, address, "live", "--json"),
            *("--data", network.folder / "visitor"),
        ) as visitor:
            event = json.loads(again.until(lambda line: '"body": "live"' in line))
            again.send({"reply_to": event["id"], "body_base64": base64.b64encode(b"\xfe").decode()})
            assert visitor.wait() == 0
            assert json.loads(visitor.lines[0])["reply_base64"] == "/g=="
        assert len([line for line in again.lines if '"whisper"' in line]) == 3


def test_a_program_for_each_whisper(network: Network) -> None:
    with running(
        *("host", "--network", network.file, "--data", network.folder / "exec", "--json"),
        *("--exec", 'sh -c "read word; test $word != fail && echo $word | tr a-z A-Z"'),
    ) as host:
        address = host.event("address")["address"]
        host.event("reachable")
        assert network.whisper(b"hello\n", to=address)["reply"] == "HELLO\n"
        assert network.whisper(b"fail\n", "--wait", 0, to=address)["reply"] is None
        host.until(lambda line: "status 1" in line, of=host.errors)
        host.end()


def test_a_file_is_sent_and_received(network: Network, tmp_path: Path) -> None:
    whole = os.urandom(300 * 1024)
    (tmp_path / "letter").write_bytes(whole)
    with running(
        *("host", "--network", network.file, "--data", network.folder / "receiver", "--json"),
        *("--receive", tmp_path / "received"),
    ) as host:
        address = host.event("address")["address"]
        host.event("reachable")
        with running(
            *("send", address, tmp_path / "letter", "--network", network.file, "--json"),
            *("--data", network.folder / "visitor"),
        ) as sender:
            assert sender.wait() == 0
        said = json.loads(sender.lines[0])
        assert (said["status"], said["size"], said["sent_bytes"]) == ("delivered", len(whole), len(whole))
        assert {path["hops"] for path in said["paths"]} <= {2, 3}
        event = host.event("transfer")
        assert (event["id"], event["size"]) == (said["id"], len(whole))
        assert Path(event["file"]).read_bytes() == whole
        host.end()


def test_a_visitor_that_waits_ends_at_a_signal(network: Network) -> None:
    """The endpoint shows, to people, and does not reply; the one object is printed all the same."""
    with running("host", "--network", network.file, "--data", network.folder / "mute") as host:
        address = host.until(lambda line: " endpoint shh1" in line).split()[-1]
        host.until(lambda line: " reachable through " in line)
        for number in (signal.SIGTERM, signal.SIGINT):
            for patience in (0.5, 3.0, 15.0):  # nothing is said when the receipt comes
                lines = len(host.lines)
                command = ("whisper", "--network", network.file, address, "x", "--json", "--wait", 60)
                with running(*command, "--data", network.folder / "visitor") as visitor:
                    host.until(lambda line: line == "  | x", after=lines)
                    time.sleep(patience)
                    visitor.process.send_signal(number)
                    status = visitor.wait()
                    assert len(visitor.lines) == 1
                    assert (status == 0) == (json.loads(visitor.lines[0])["status"] == "delivered")
                    if status == 0:
                        break
            assert status == 0


def test_a_folder_is_held_alone(network: Network) -> None:
    for command in (
        ("host", "--data", network.folder / "host", "--network", network.file),
        ("relay", "--data", network.folder / "relay1", "--listen", "127.0.0.1:0", "--network", network.file),
        (
            "directory",
            "--data",
            network.folder / "directory",
            "--listen",
            "127.0.0.1:0",
            "--network",
            network.file,
        ),
    ):
        with running(*command) as second:
            assert second.wait() == 1
            assert len(second.errors) == 1
            assert "is in use already" in second.errors[0]


def test_a_directory_that_restarts_goes_on(tmp_path: Path) -> None:
    """Same key, same network file; SIGINT ends it as well as SIGTERM."""
    command = (
        "directory",
        "--listen",
        "127.0.7.120:0",
        "--data",
        tmp_path / "d",
        "--network",
        tmp_path / "n",
    )
    texts = []
    for number in (signal.SIGINT, signal.SIGTERM):
        with running(
            *command, "--interval", 60, "--param", "window=248", "--param", "queue_cap=600"
        ) as authority:
            authority.until(lambda line: "a consensus every 60 s" in line)
            texts.append((tmp_path / "n").read_text())
            authority.end(number)
    assert texts[0] == texts[1]


def test_a_directory_that_is_late_is_waited_for(network: Network, tmp_path: Path) -> None:
    """And a signal ends the waiting."""
    text = network.file.read_text()
    nowhere = tmp_path / "net.toml"
    nowhere.write_text(text.replace("127.0.7.100", "127.0.7.121"))
    for command in (("relay", "--listen", "127.0.0.1:0"), ("host",)):
        with running(*command, "--network", nowhere, "--data", tmp_path / command[0]) as waiting:
            waiting.until(lambda line: "Trying again until it answers." in line, of=waiting.errors)
            waiting.end()


def test_demo() -> None:
    with running("demo", "--relays", 5, "--hops", 1) as demo:
        assert demo.wait() == 0
        assert "delivered both ways" in demo.lines[-1]


def test_ended_before_there_was_anything_to_send(network: Network, tmp_path: Path) -> None:
    command = ("whisper", "--network", network.file, network.address, "--json", "--data", tmp_path / "v")
    with running(*command, stdin=subprocess.PIPE) as visitor:
        until(lambda: heeds(visitor, signal.SIGTERM))  # SIGINT as well then; Python itself heeds that earlier
        visitor.process.send_signal(signal.SIGINT)
        assert visitor.wait() == 1


def test_a_relay_is_asked_for_by_its_own_id(network: Network) -> None:
    """Scripts go by the exit status: 0 for listed, 3 for not."""
    for identity, status, said in (
        (network.rows[0]["id"], 0, "  listed since "),
        ("ab" * 32, 3, "  not known to the directory: "),
    ):
        command = ("relays", "--network", network.file, "--why", identity)
        done = subprocess.run(
            [*COMMAND, *map(str, command)],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert (done.returncode, done.stderr) == (status, "")
        assert said in done.stdout
