"""What a running program answers by its socket, and what is said where none answers well."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from onionshh import __version__
from onionshh.cli.statistics import HostStatistics
from onionshh.cli.status_socket import NotRunning, asked, serve_status, why_host
from onionshh.errors import Error
from onionshh.net.local_socket import NAME, listening, serve
from onionshh.net.store import DataDirectory

RECORD = HostStatistics(joined=True, online=True, reachable=True)


async def seen(folder: Path, why: Callable[[], str] = lambda: "") -> Any:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_status, folder, "host", lambda: RECORD, why)
        await trio.testing.wait_all_tasks_blocked()
        answer = await trio.to_thread.run_sync(asked, folder)
        nursery.cancel_scope.cancel()
    return answer


async def test_the_answer_has_the_record_and_what_the_program_is(tmp_path: Path) -> None:
    answer = await seen(tmp_path)
    assert (answer["kind"], answer["onionshh"], answer["why"]) == ("host", __version__, "")
    assert answer["introducers"] == 0
    assert answer["up_seconds"] >= 0
    assert (await seen(tmp_path, lambda: "It rains."))["why"] == "It rains."


async def test_a_program_goes_on_without_a_socket_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / NAME).write_text("mine")
    with trio.move_on_after(0.05) as waiting:
        await serve_status(tmp_path, "host", lambda: RECORD, str)
    assert waiting.cancelled_caught
    said = f"onionshh: `onionshh status` cannot ask this program: {NAME} there is not a socket; remove it.\n"
    assert capsys.readouterr().err == said


def test_nothing_is_made_where_nothing_runs(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(NotRunning, match="No relay, host or directory runs"):
            asked(folder)
    assert not list(tmp_path.iterdir())


def test_a_program_that_has_the_folder_and_no_socket_is_not_taken_for_none(tmp_path: Path) -> None:
    with DataDirectory(tmp_path).lock(), pytest.raises(Error, match="cannot be asked: it has only just"):
        asked(tmp_path)
    with pytest.raises(NotRunning):
        asked(tmp_path)


@pytest.mark.parametrize("said", ["", "[]", "[" * 100_000, '{"kind": "cat"}', '{"error": "x"}', "\x00"])
async def test_what_is_not_ours_gets_one_sentence(tmp_path: Path, said: str) -> None:
    with listening(tmp_path) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, listener, {"status": lambda: said})
            with pytest.raises(Error, match="is not a relay, host or directory of this version"):
                await trio.to_thread.run_sync(asked, tmp_path)
            nursery.cancel_scope.cancel()


def test_why_a_host_is_not_well() -> None:
    assert why_host(HostStatistics()) == "This host has not joined the network yet."
    assert why_host(HostStatistics(joined=True)).startswith("No guard answers")
    assert why_host(HostStatistics(joined=True, online=True)).startswith("Strangers do not reach")
    assert why_host(RECORD) == ""
    assert json.dumps(why_host(RECORD)) == '""'
