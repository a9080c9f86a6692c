"""`onionshh send`: what is checked before anything is sent, how far it is, and what is told at the end."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh import Identity
from onionshh.cli import main
from onionshh.cli.send import INTERRUPTED, Teller, see_it_through
from onionshh.core.delivery.parts import MOST_BYTES
from tests.cli.conftest import network_file
from tests.client.world import QUIET, hosted, small

Captured = pytest.CaptureFixture[str]
ADDRESS = Identity.generate().address


async def test_a_delivered_file_is_said_in_one_line(autojump_clock: MockClock, capsys: Captured) -> None:
    async with small(**QUIET) as net, net.join("visitor") as node, hosted(net) as (_, endpoint):
        async with node.contact(endpoint.address) as contact:
            assert await see_it_through(contact.transfer(b"hello"), node, Teller(as_json=False)) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("onionshh: delivered: 5 bytes over 1 way in ")
    assert err.count("\n") == 1


async def test_one_object_for_programs(autojump_clock: MockClock, capsys: Captured) -> None:
    async with small(**QUIET) as net, net.join("visitor") as node, hosted(net) as (_, endpoint):
        async with node.contact(endpoint.address) as contact:
            transfer = contact.transfer(b"hello")
            assert await see_it_through(transfer, node, Teller(as_json=True)) == 0
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert said.pop("seconds") >= 0
    (path,) = said.pop("paths")
    assert path["hops"] in (2, 3)
    assert said == {"status": "delivered", "why": "", "id": transfer.id, "size": 5, "sent_bytes": 5}
    assert err == ""


async def test_what_is_in_the_way_is_said_once_and_then_it_expires(
    autojump_clock: MockClock, capsys: Captured
) -> None:
    async with small(**QUIET) as net, net.join() as node, node.contact(ADDRESS) as contact:
        transfer = contact.transfer(b"x", ttl_seconds=60)
        assert await see_it_through(transfer, node, Teller(as_json=False)) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "no endpoint is published under this address" in said[0]
    assert said[0].endswith("; trying on.")
    assert said[1].startswith("onionshh: not delivered (expired): no endpoint is published under this")
    assert said[1].endswith("; given up, nothing more is sent.")


@pytest.mark.parametrize("as_json", [False, True])
async def test_a_signal_has_it_tell_how_it_stands(
    as_json: bool, autojump_clock: MockClock, capsys: Captured
) -> None:
    """A signal cancels the command."""
    async with small(**QUIET) as net, net.join() as node, node.contact(ADDRESS) as contact:
        teller = Teller(as_json=as_json)
        with trio.move_on_after(1):
            await see_it_through(contact.transfer(b"x"), node, teller)
            raise AssertionError("went on")
        teller.end()
    out, err = capsys.readouterr()
    if as_json:
        assert json.loads(out)["status"] == "failed"
        assert json.loads(out)["why"] == INTERRUPTED
    else:
        assert err == f"onionshh: not delivered (failed): {INTERRUPTED}; given up, nothing more is sent.\n"


def test_a_signal_before_anything_was_sent(capsys: Captured) -> None:
    Teller(as_json=True).end()
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": "interrupted before anything was sent."}
    assert err == "onionshh: interrupted before anything was sent.\n"


@pytest.mark.parametrize(
    "arguments, said",
    [
        ((ADDRESS,), "Give ADDRESS and FILE"),
        ((), "Give ADDRESS and FILE"),
        (("shh1qq", "{file}"), "is not an onionshh address"),
        (("{file}", ADDRESS), "The address comes first"),
        ((ADDRESS, "{folder}/nothing"), "Cannot read {folder}/nothing: No such file"),
        ((ADDRESS, "{folder}"), "it is a folder"),
        ((ADDRESS, "{large}"), "and this one has 8388609: transfers are not for bulk"),
        ((ADDRESS, "{file}", "--ttl", "0"), "A TTL must be"),
        ((ADDRESS, "{file}", "--class", "slow"), "slow"),
        ((ADDRESS, "{file}", "--name", ""), "--name must be text of 1 to 64 printable characters"),
        ((ADDRESS, "{file}", "--address-file", "{file}"), "exclude each other"),
        (("--address-file", "-", "-"), "stdin cannot be both"),
        (("--address-file", "{file}", "{file}"), "is not an onionshh address"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_sent(
    arguments: tuple[str, ...], said: str, tmp_path: Path, capsys: Captured
) -> None:
    network = network_file(tmp_path / "net.toml", 7000)
    names = {"folder": tmp_path, "file": tmp_path / "file", "large": tmp_path / "large"}
    names["file"].write_text("hello")
    names["large"].touch()
    os.truncate(names["large"], MOST_BYTES + 1)
    given = [one.format(**names) for one in arguments]
    assert main(["send", "--network", str(network), *given]) == 2
    assert said.format(**names) in capsys.readouterr().err
