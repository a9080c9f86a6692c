"""`host --receive`: what becomes of a transfer on disk."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh.cli.failures import Usage
from onionshh.cli.lines import Output
from onionshh.cli.received import ReceivedFiles
from onionshh.cli.voice import JsonVoice
from onionshh.client.incoming import IncomingTransfer, Shown
from onionshh.core.delivery.parts import PART_DATA, TransferId
from onionshh.core.delivery.transfer_actions import OfferTransfer
from onionshh.net.store import run_inline
from tests.cli.conftest import Heard, speaking
from tests.client.world import QUIET, hosted, small, until
from tests.inside import parts

ID = TransferId(bytes(range(16)))
WHEN = 1_790_000_000
STAMP = time.strftime("%Y%m%d-%H%M%S", time.gmtime(WHEN))


class Holder:
    """Holds one transfer of two pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    async def next(self) -> Shown | None:
        return None

    async def read(self, transfer: TransferId, number: int) -> bytes | None:
        await trio.lowlevel.checkpoint()
        return self._pieces[number]

    async def finish(self, transfer: TransferId) -> None:
        """Nothing to do."""

    def let_go_soon(self, transfer: TransferId) -> None:
        """Nothing to do."""


def incoming(*pieces: bytes) -> IncomingTransfer:
    shown = OfferTransfer(ID, sum(map(len, pieces)), len(pieces), 1, None, WHEN)
    return IncomingTransfer(Holder(*pieces), shown, lambda session: None)


async def test_a_file_has_the_time_and_the_first_digits_of_the_id_as_its_name(tmp_path: Path) -> None:
    path = await ReceivedFiles(tmp_path / "new" / "folder").save(incoming(b"hello ", b"world"))
    assert path == tmp_path / "new" / "folder" / f"{STAMP}-00010203"
    assert path.read_bytes() == b"hello world"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


async def test_the_folder_may_change(tmp_path: Path) -> None:
    files = ReceivedFiles(tmp_path / "a")
    files.move(tmp_path / "b")
    assert (await files.save(incoming(b"hello"))).parent == tmp_path / "b"
    (tmp_path / "file").touch()
    with pytest.raises(Usage, match="Cannot use"):
        files.move(tmp_path / "file")
    assert (await files.save(incoming(b"other"))).parent == tmp_path / "b"


async def test_files_may_begin_and_end_while_it_runs(
    tmp_path: Path, heard: Heard, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """What comes while there is no folder waits, and is a file once there is one."""
    files = ReceivedFiles(None, run_inline)
    async with (
        small(**QUIET) as net,
        net.join("visitor") as visitor,
        hosted(net) as (_, endpoint),
        trio.open_nursery() as nursery,
    ):
        voice = JsonVoice(Output(heard.writing))
        machine = parts(endpoint).peers.transfers.machine
        async with speaking(voice), visitor.contact(endpoint.address) as contact:
            nursery.start_soon(files.run, endpoint, voice)

            async def send(body: bytes) -> None:
                await contact.transfer(body).final()
                await trio.sleep(30)

            await send(b"before")
            assert machine.unfinished == 1
            files.move(tmp_path / "a")
            await until(lambda: machine.unfinished == 0)
            await send(b"while")
            files.move(None)
            await send(b"after")
            assert machine.unfinished == 1
            files.move(tmp_path / "b")
            files.move(tmp_path / "c")
            await until(lambda: machine.unfinished == 0)
            nursery.cancel_scope.cancel()
    made = {path.read_bytes(): path.parent.name for path in tmp_path.glob("?/*")}
    assert made == {b"before": "a", b"while": "a", b"after": "c"}
    assert capsys.readouterr().err.count("1 transfer here or on the way; --receive DIR makes files") == 2


async def test_one_that_could_not_be_a_file_waits_when_no_more_are_made(
    tmp_path: Path, heard: Heard, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ReceivedFiles(tmp_path / "a", run_inline)
    real = os.fsync

    def refuse(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".part"):
            raise OSError(28, "No space left on device")
        real(descriptor)

    async with (
        small(**QUIET) as net,
        net.join("visitor") as visitor,
        hosted(net) as (_, endpoint),
        trio.open_nursery() as nursery,
    ):
        voice = JsonVoice(Output(heard.writing))
        async with speaking(voice), visitor.contact(endpoint.address) as contact:
            nursery.start_soon(files.run, endpoint, voice)
            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", refuse)
                await contact.transfer(b"hello").final()
                await trio.sleep(30)
                files.move(None)
                await trio.sleep(30)
            machine = parts(endpoint).peers.transfers.machine
            assert machine.unfinished == 1
            files.move(tmp_path / "b")
            await until(lambda: machine.unfinished == 0)
            nursery.cancel_scope.cancel()
    assert [path.read_bytes() for path in tmp_path.glob("?/*")] == [b"hello"]


async def test_one_that_is_shown_again_makes_no_second_file(tmp_path: Path) -> None:
    files = ReceivedFiles(tmp_path)
    first = await files.save(incoming(b"hello"))
    (tmp_path / f".{ID.hex()}.part").write_bytes(b"of a run that died")
    assert await files.save(incoming(b"hello")) == first
    assert list(tmp_path.iterdir()) == [first]


async def test_no_file_is_ever_replaced(tmp_path: Path) -> None:
    files = ReceivedFiles(tmp_path)
    names = [f"{STAMP}-00010203", f"{STAMP}-{ID.hex()}", f"{STAMP}-{ID.hex()}-2"]
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    (tmp_path / names[0]).write_bytes(b"mine")
    (tmp_path / names[1]).symlink_to(outside)
    assert (await files.save(incoming(b"theirs"))).name == names[2]
    assert (tmp_path / names[0]).read_bytes() == outside.read_bytes() == b"mine"


async def test_a_file_system_without_links_does_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    files = ReceivedFiles(tmp_path)
    assert (await files.save(incoming(b"one"))).name == f"{STAMP}-00010203"
    assert (await files.save(incoming(b"two"))).name == f"{STAMP}-{ID.hex()}"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Usage, match=r"Cannot use .*file for transfers"):
        ReceivedFiles(tmp_path / "file")


async def test_a_full_disk_is_told_and_tried_again(
    tmp_path: Path,
    heard: Heard,
    autojump_clock: MockClock,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = bytes(PART_DATA) + b"end"
    files = ReceivedFiles(tmp_path / "received", run_inline)  # virtual time does not wait for threads
    full = OSError(28, "No space left on device")
    real, refused = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal refused
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".part") and refused < 3:
            refused += 1
            raise full
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    async with (
        small(**QUIET) as net,
        net.join("visitor") as visitor,
        hosted(net) as (_, endpoint),
        trio.open_nursery() as nursery,
    ):
        voice = JsonVoice(Output(heard.writing))
        async with speaking(voice), visitor.contact(endpoint.address) as contact:
            nursery.start_soon(files.run, endpoint, voice)
            transfer = contact.transfer(whole)
            await transfer.final()
            machine = parts(endpoint).peers.transfers.machine
            await until(lambda: machine.unfinished == 0)
            (event,) = [json.loads(line) for line in await heard.lines(1)]
            nursery.cancel_scope.cancel()
    assert refused == 3
    assert event.pop("received_at") > 0
    (path,) = (tmp_path / "received").iterdir()
    assert event == {"event": "transfer", "id": transfer.id, "size": len(whole), "file": str(path)}
    assert path.read_bytes() == whole
    said = capsys.readouterr().err
    assert said.count("a transfer cannot be taken or finished (No space left on device") == 1
    assert said.count("transfers can be taken and finished again.") == 1
