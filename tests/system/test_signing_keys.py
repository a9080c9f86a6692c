"""Real processes: an identity leaves a relay's folder, and a signing key is renewed while the relay runs."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import trio

import onionshh
from onionshh.core.base.words import utc
from onionshh.core.certificate import expires_of
from onionshh.relay.signing_file import SIGNING_FILE, read_signing
from tests.system.processes import COMMAND, PATIENCE_SECONDS, Running, running

RELAYS = 4


def master(*arguments: object) -> str:
    """What `onionshh master` says; it must end well."""
    command = [*COMMAND, "master", *(str(one) for one in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def relay_id(text: str) -> str:
    found = re.search("(?:id|relay) ([0-9a-f]{64})", text)
    assert found is not None
    return found.group(1)


class Relays:
    """A directory and relays, each with a folder of its own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self.file = folder / "net.toml"
        directory = stack.enter_context(
            running(
                *("directory", "--listen", "127.0.8.110:0", "--data", folder / "directory"),
                *("--network", self.file),
            )
        )
        directory.until(lambda line: "0 relays listed" in line)

    def folder(self, number: int) -> Path:
        return self._folder / f"relay{number}"

    def start(self, number: int) -> Running:
        address = f"127.0.8.{110 + number}"
        return self._stack.enter_context(
            running(
                *("relay", "--network", self.file, "--listen", f"{address}:0", "--bind", address),
                *("--data", self.folder(number), "--nickname", f"relay{number}"),
            )
        )


def listed(process: Running) -> None:
    process.until(lambda line: line.endswith("listed") and "not" not in line)


async def whispers(file: Path, folder: Path, count: int) -> list[bytes]:
    """So many whispers over circuits of three relays, each answered."""

    async def answer(endpoint: onionshh.Endpoint) -> None:
        async for whisper in endpoint:
            await whisper.reply(whisper.body.upper())

    async with (
        onionshh.join(file, data_dir=folder / "host", bind="127.0.8.121") as host,
        onionshh.join(file, data_dir=folder / "visitor", bind="127.0.8.122") as visitor,
        host.host(folder / "identity") as endpoint,
        trio.open_nursery() as nursery,
        visitor.contact(endpoint.address, hops=2) as contact,
    ):
        nursery.start_soon(answer, endpoint)
        with trio.fail_after(PATIENCE_SECONDS):
            answers = [await contact.ask(b"whisper %d" % number) for number in range(count)]
        nursery.cancel_scope.cancel()
    return answers


def test_relays_without_their_identities_carry_whispers_and_take_the_next_key(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir(mode=0o700)
    with ExitStack() as stack:
        relays = Relays(tmp_path, stack)
        # One is new: its identity was never on its disk.
        new_id = relay_id(master("new", stick / "1.master"))
        master("sign", stick / "1.master", "--to", stick, "--days", 5)
        relays.folder(1).mkdir(mode=0o700)
        shutil.move(stick / SIGNING_FILE, relays.folder(1) / SIGNING_FILE)
        started = {number: relays.start(number) for number in range(1, RELAYS + 1)}
        assert relay_id(started[1].until(lambda line: " id " in line)) == new_id
        # Another has run for a while, and stays who it was.
        old_id = relay_id(started[2].until(lambda line: " id " in line))
        listed(started[2])
        started[2].end()
        assert relay_id(master("take", stick / "2.master", "--data", relays.folder(2))) == old_id
        started[2] = relays.start(2)
        assert relay_id(started[2].until(lambda line: " id " in line)) == old_id
        for process in started.values():
            listed(process)
        # The first gets its next key while it runs.
        master("sign", stick / "1.master", "--to", stick, "--days", 30)
        shutil.copyfile(stick / SIGNING_FILE, relays.folder(1) / SIGNING_FILE)
        said = started[1].until(lambda line: "a new signing key is in use" in line)
        kept = read_signing(relays.folder(1) / SIGNING_FILE)
        assert kept is not None
        assert utc(expires_of(kept.signing)) in said
        answers = trio.run(whispers, relays.file, tmp_path, 5)
        assert answers == [b"WHISPER %d" % number for number in range(5)]
        for number in (1, 2):
            started[number].process.send_signal(signal.SIGUSR1)
            numbers = started[number].statistics()
            assert numbers["listed"]
            assert numbers["signing_key_seconds_left"] > 29 * 86_400
        assert any("ends on" in line for line in started[1].errors), "five days are less than seven"
