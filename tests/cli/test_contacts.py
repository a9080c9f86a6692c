"""`onionshh contacts`, over a folder that contacts have written to."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner
from trio.testing import MockClock

from onionshh.cli.contacts import contacts
from onionshh.client.contact_list import contacts_in, forget
from onionshh.client.mail.deposit_store import DepositStore
from onionshh.client.mail.deposits import SealedItem
from onionshh.config import format_network_file
from onionshh.errors import BadData, DataInUse
from onionshh.ids import WhisperId
from onionshh.wire.mailbox import INBOX, Mailbox
from tests.client.world import PATIENCE_SECONDS, echo, hosted, small


async def kept(here: Path) -> None:
    """A node's folder as `data`: one contact with a session, and one whose whisper waits."""
    async with small(8) as net, hosted(net) as (_, endpoint), trio.open_nursery() as nursery:
        nursery.start_soon(echo, endpoint)
        async with net.join("visitor") as node:
            async with node.contact(endpoint.address, name="press") as contact:
                with trio.fail_after(PATIENCE_SECONDS):
                    assert await contact.ask(b"hello") == b"hello"
            async with node.contact(endpoint.address, name="friend") as contact:
                contact.send(b"later")
                listed = contacts_in(net.folder / "visitor")
                assert [(one.name, one.in_use) for one in listed] == [("friend", True), ("press", False)]
                with pytest.raises(DataInUse):
                    forget(listed[0])
        nursery.cancel_scope.cancel()
        (net.folder / "visitor").rename(here / "data")
        (here / "net.toml").write_text(format_network_file(net.file))


def said(here: Path, *arguments: str) -> str:
    options = ["--network", str(here / "net.toml"), "--data", str(here / "data")]
    result = CliRunner().invoke(contacts, [*options, *arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout


async def test_what_is_kept_is_listed_and_can_be_forgotten(autojump_clock: MockClock, tmp_path: Path) -> None:
    await kept(tmp_path)
    friend, press = map(json.loads, said(tmp_path, "--json").splitlines())
    assert (friend["name"], friend["waiting"], friend["session"]) == ("friend", 1, None)
    assert (press["name"], press["waiting"], press["unread"], press["in_use"]) == ("press", 0, 0, False)
    assert press["session"]["exchanges"] == 1
    lines = said(tmp_path).splitlines()
    assert lines[0].startswith("friend  shh1")
    assert lines[1] == "  no session yet; 1 whisper in the outbox"
    assert lines[3].startswith("  session since 20")
    assert said(tmp_path, "--forget", "friend").startswith("forgot friend (shh1")
    assert [one.name for one in contacts_in(tmp_path / "data")] == ["press"]
    with pytest.raises(Exception, match="no contact of the name friend"):
        said(tmp_path, "--forget", "friend")


async def test_what_is_stored_is_told_with_its_copies(autojump_clock: MockClock, tmp_path: Path) -> None:
    await kept(tmp_path)
    (friend,) = (one for one in contacts_in(tmp_path / "data") if one.name == "friend")
    mailbox = Mailbox(INBOX, bytes(32), 7)
    with closing(sqlite3.connect(friend.path / "contact.db")) as connection, connection:
        (whisper,) = connection.execute("SELECT id FROM outbox").fetchone()
        items = [SealedItem(mailbox, bytes([part]) * 32, 1, b"value") for part in range(2)]
        DepositStore.write(connection, whisper, items, 1)
        DepositStore.write(connection, WhisperId(bytes(16)), [SealedItem(mailbox, b"x" * 32, 1, b"")], 1)
        copies = [
            (item.item_id, bytes([relay]) * 32, relay % 2, state)
            for item, states in zip(items, ((2, 2, 2, 2), (2, 2, 2, 1)), strict=True)
            for relay, state in enumerate(states)
        ]
        connection.executemany("INSERT INTO deposit_copies VALUES (?, ?, ?, ?)", copies)
    told = json.loads(said(tmp_path, "--json").splitlines()[0])
    assert told["stored"] == [{"id": whisper.hex(), "copies": 3}]
    assert said(tmp_path).splitlines()[1].endswith("; 1 whisper in the outbox, stored (3 of 4 copies)")
    with closing(sqlite3.connect(friend.path / "contact.db")) as connection, connection:
        connection.execute("DELETE FROM deposit_copies WHERE place = 1")
    assert json.loads(said(tmp_path, "--json").splitlines()[0])["stored"] == [], "not safe in one place"
    with closing(sqlite3.connect(friend.path / "contact.db")) as connection, connection:
        connection.execute("DROP TABLE letters_left")
    assert json.loads(said(tmp_path, "--json").splitlines()[0])["stored"] == [], "there were no letters yet"


def test_a_folder_without_contacts(tmp_path: Path) -> None:
    assert contacts_in(tmp_path) == []


async def test_a_damaged_file_is_named(autojump_clock: MockClock, tmp_path: Path) -> None:
    await kept(tmp_path)
    (damaged,) = (one.path for one in contacts_in(tmp_path / "data") if one.name == "press")
    with closing(sqlite3.connect(damaged / "contact.db")) as connection:
        connection.execute("DROP TABLE about")
    with pytest.raises(BadData, match="cannot be read"):
        contacts_in(tmp_path / "data")
