"""No log line of relays, the directory, a host and a visitor has an address or an id, at any level.

Every call of a logger is looked at, in the form that `--log-level debug` would show, while a network in
memory goes through a bad day: relays come and go, disks refuse, a fault of ours is brought out. What a
relay says on stdout of itself, and the directory of its relays, is not part of this: it is public.
"""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh import Identity
from onionshh.cli.failures import OneLine
from onionshh.cli.logs import STEPS
from onionshh.errors import Error
from onionshh.relay.forward import Switch
from tests.client.world import QUIET, small


async def test_a_bad_day_puts_no_address_and_no_id_into_a_log(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG, logger="onionshh")
    identity = Identity.generate()

    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    def fault(*arguments: object) -> None:
        raise KeyError(*secrets)

    async with small(6, **QUIET) as net, net.join("host") as host, host.host(identity) as endpoint:
        await endpoint.reachable()
        secrets = [identity.address, identity.address.removeprefix("shh1")[:12]]
        for relay in net.relays:
            secrets += [relay.id[:16], relay.host, repr(bytes.fromhex(relay.id))[2:-1]]
        async with net.join("visitor") as visitor, visitor.contact(identity.address) as contact:
            contact.send(b"hello", ttl_seconds=3600)
            await (await anext(aiter(endpoint))).reply(b"you too")
            again = net.relays[0]
            await again.stop()
            with monkeypatch.context() as patch:
                patch.setattr(os, "replace", refuse)
                await trio.sleep(300)
                patch.setattr(Switch, "receive_frame", fault)
                await trio.sleep(60)
            await net.add_relay(again=again)
            contact.send(b"hello again", ttl_seconds=3600)
            with trio.move_on_after(3600):
                try:
                    await (await anext(aiter(endpoint))).done()
                except Error:
                    raise AssertionError("the network did not recover") from None
            await trio.sleep(300)
    said = [(one.name, OneLine().format(one)) for one in caplog.records if one.name != STEPS]
    assert {name for name, _ in said} >= {"onionshh.net", "onionshh.directory"}
    assert any("no new consensus, the disk refuses" in line for _, line in said)
    assert any("(KeyError in test_quiet_logs.py" in line for _, line in said)
    for name, line in said:
        assert not [secret for secret in secrets if secret in line], (name, line)
