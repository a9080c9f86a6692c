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
from onionshh.config import format_network_file
from onionshh.errors import BadData, DataInUse
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


def test_a_folder_without_contacts(tmp_path: Path) -> None:
    assert contacts_in(tmp_path) == []


async def test_a_damaged_file_is_named(autojump_clock: MockClock, tmp_path: Path) -> None:
    await kept(tmp_path)
    (damaged,) = (one.path for one in contacts_in(tmp_path / "data") if one.name == "press")
    with closing(sqlite3.connect(damaged / "contact.db")) as connection:
        connection.execute("DROP TABLE about")
    with pytest.raises(BadData, match="cannot be read"):
        contacts_in(tmp_path / "data")
