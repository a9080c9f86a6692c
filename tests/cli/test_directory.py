"""What `directory` says while it runs."""

from __future__ import annotations

import errno

import pytest
import trio
from trio.testing import MockClock

from onionshh.cli.directory import _watch
from onionshh.directory.store import AuthorityStore
from tests.client.world import small


async def test_a_list_that_is_made_no_more_is_said_once_and_so_is_its_end(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk refuses for an hour of a network with a consensus every minute."""

    def refuse(store: AuthorityStore, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with small(3) as net, trio.open_nursery() as nursery:
        nursery.start_soon(_watch, net.authority)
        await trio.sleep(600)
        assert capsys.readouterr().err == ""
        with monkeypatch.context() as patched:
            patched.setattr(AuthorityStore, "save_state", refuse)
            await trio.sleep(3600)
            assert capsys.readouterr().err == (
                "onionshh: no new consensus is made; the last one serves while it is valid.\n"
            )
        await trio.sleep(600)
        assert capsys.readouterr().err == "onionshh: a new consensus is out again.\n"
        nursery.cancel_scope.cancel()
