"""`onionshh whisper` to an endpoint that is away: it ends once relays keep the whisper, and a later run sees
what became of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from onionshh import Identity, testing
from onionshh.cli.ending import end_on_signals, status_when_ended
from onionshh.cli.following import UNKEPT
from onionshh.cli.teller import AWAY, NOT_SEEN, SEEN_LATER, Teller
from onionshh.cli.whisper import Letter, deliver
from onionshh.client.contact_list import contacts_in
from onionshh.client.mail.letters import NO_INBOX
from onionshh.client.receipt import Receipt
from tests.client.world import PATIENCE_SECONDS, QUIET, hosted, small

Captured = pytest.CaptureFixture[str]
DAYS = 3 * 86_400.0
WAIT = 30.0


@dataclass
class Sender:
    """Runs of `onionshh whisper` over one folder, to one address."""

    net: testing.Network
    letter: Letter

    async def run(self, teller: Teller | None = None, *, as_json: bool = False, **terms: Any) -> int:
        letter = replace(self.letter, **terms)
        teller = teller or Teller("talk", WAIT, as_json=as_json, named=letter.name is not None)
        return await deliver(letter, self.net.join("visitor"), WAIT, teller)


@asynccontextmanager
async def away(*, inbox: bool = True) -> AsyncIterator[Sender]:
    """A network, and an endpoint that was there and has left."""
    async with small(8, **QUIET) as net:
        async with hosted(net, inbox=inbox) as (_, endpoint):
            address = endpoint.address
        yield Sender(net, Letter(address, b"for later", "talk", None, DAYS, None, receipt=True, store=True))


async def test_it_is_stored_and_what_that_means_is_said(autojump_clock: MockClock, capsys: Captured) -> None:
    async with away() as sender:
        with end_on_signals():
            assert await sender.run() == 0
            assert status_when_ended() == 0
    out, err = capsys.readouterr()
    assert out == ""
    *before, last = err.splitlines()
    assert any("the whisper is being left with relays" in line for line in before)
    assert last.startswith("onionshh: stored, 4 of 4 copies; the proof of work took ")
    assert last.endswith(f" s. {AWAY[0].upper()}{AWAY[1:]}; {NOT_SEEN}.")


async def test_a_program_gets_it_as_one_object(autojump_clock: MockClock, capsys: Captured) -> None:
    async with away() as sender:
        assert await sender.run(as_json=True) == 0
    out, err = capsys.readouterr()
    assert err == ""
    told = json.loads(out)
    assert (told["status"], told["copies"], told["why"]) == ("stored", 4, f"{AWAY}; {NOT_SEEN}")
    assert told["proof_seconds"] >= 0  # virtual time stands still during the work


async def test_the_runs_of_one_name_see_what_became_of_it(
    autojump_clock: MockClock, capsys: Captured
) -> None:
    async with away() as sender:
        data = sender.net.folder / "visitor"
        assert await sender.run(name="press") == 0
        assert f"; {SEEN_LATER}." in capsys.readouterr().err
        (contact,) = contacts_in(data)
        assert (contact.waiting, list(contact.stored.values())) == (1, [4])

        assert await sender.run(name="press", as_json=True) == 0
        mine, earlier = map(json.loads, capsys.readouterr().out.splitlines())
        assert mine["status"] == "stored"
        assert earlier == {
            "event": "earlier",
            "id": next(iter(contact.stored)),
            "status": "stored",
            "why": "",
            "copies": 4,
        }
        async with hosted(sender.net) as (_, endpoint):
            got = Counter[bytes]()

            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def receive() -> None:
                    async for whisper in endpoint:
                        got[whisper.body] += 1

                with trio.fail_after(10 * PATIENCE_SECONDS):
                    assert await sender.run(name="press", body=b"and now") == 0
                    while got.total() < 3:
                        await trio.sleep(1)
                nursery.cancel_scope.cancel()
        assert got == {b"and now": 1, b"for later": 2}
        said = capsys.readouterr().err
        assert said.count("a whisper of an earlier run was delivered.") == 2
        assert contacts_in(data)[0].stored == {}


async def test_what_an_earlier_run_could_not_store_is_stored_now(
    autojump_clock: MockClock, capsys: Captured
) -> None:
    async with away() as sender:
        signal = Signal(lambda receipt: receipt.proof_tries > 0, "press")
        with signal.scope:
            await sender.run(signal, name="press", body=bytes(9000))
        assert await sender.run(name="press") == 0
        (contact,) = contacts_in(sender.net.folder / "visitor")
        assert contact.waiting == len(contact.stored) == 2
    assert "2 whispers" not in capsys.readouterr().err


@pytest.mark.parametrize("terms", [{"store": False}, {"ttl_seconds": 600.0}], ids=str)
async def test_what_is_not_to_be_stored_is_given_up_when_the_wait_is_over(
    autojump_clock: MockClock, capsys: Captured, terms: dict[str, Any]
) -> None:
    async with away() as sender:
        started = trio.current_time()
        assert await sender.run(**terms) == 1
        assert trio.current_time() - started < WAIT + 15
    said = capsys.readouterr().err
    assert said.endswith("; given up, nothing more is sent.\n")
    assert "relays" not in said


async def test_without_a_receipt_it_ends_with_all_copies_too(
    autojump_clock: MockClock, capsys: Captured
) -> None:
    async with away() as sender:
        assert await sender.run(receipt=False) == 0
    said = capsys.readouterr().err
    assert "onionshh: stored, 4 of 4 copies; " in said
    assert "No receipt comes for it; the endpoint gets it when it returns" in said


async def test_an_endpoint_without_an_inbox(autojump_clock: MockClock, capsys: Captured) -> None:
    async with away(inbox=False) as sender:
        assert await sender.run() == 1
    assert f"not delivered (failed): {NO_INBOX}; given up" in capsys.readouterr().err


async def test_an_address_that_nobody_ever_had(autojump_clock: MockClock, capsys: Captured) -> None:
    async with away() as sender:
        assert await sender.run(address=Identity.generate().address) == 1
    assert "so there is no inbox to leave it in; given up" in capsys.readouterr().err


class Signal(Teller):
    """A signal that cancels the command when the whisper is this far."""

    def __init__(self, when: Callable[[Receipt], bool], name: str | None) -> None:
        super().__init__("talk", WAIT, as_json=False, named=name is not None)
        self.scope = trio.CancelScope()
        self._when = when

    def storing(self, receipt: Receipt, usual: int) -> None:
        super().storing(receipt, usual)
        if self._when(receipt):
            self.scope.cancel()


@pytest.mark.parametrize("name", [None, "press"])
async def test_a_signal_during_the_work_is_told_in_one_sentence(
    autojump_clock: MockClock, capsys: Captured, name: str | None
) -> None:
    async with away() as sender:
        with end_on_signals():
            signal = Signal(lambda receipt: receipt.proof_tries > 0, name)
            with signal.scope:
                await sender.run(signal, name=name)
                raise AssertionError("went on")
            assert status_when_ended() == 1
    said = capsys.readouterr().err.splitlines()
    assert sum(f"not delivered ({'queued' if name else 'failed'}): {UNKEPT}; " in line for line in said) == 1
    assert said[-1].endswith("the next run with --name." if name else "given up, nothing more is sent.")


async def test_a_signal_while_more_copies_are_made_does_not_undo_it(
    autojump_clock: MockClock, capsys: Captured
) -> None:
    async with away() as sender:
        with end_on_signals():
            signal = Signal(lambda receipt: receipt.status == "stored", None)
            with signal.scope:
                await sender.run(signal)
                raise AssertionError("went on")
            assert status_when_ended() == 0
    assert "onionshh: stored, 2 of 4 copies" in capsys.readouterr().err
