"""A source and a journalist exchange confirmations, and are never there at the same time."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import onionshh
from tests.client.letterworld import HOUR, HOURS, slowly
from tests.client.world import small
from tests.examples import confirmations

CHECKED = {"the invoice is of May": "yes", "it was paid twice": "no"}
Captured = pytest.CaptureFixture[str]


async def test_claims_are_confirmed_and_the_last_one_leads_elsewhere(
    autojump_clock: MockClock, capsys: Captured
) -> None:
    with slowly(30.0):
        async with small(8, **HOURS) as net:
            at_desk, at_source = net.folder / "desk", net.folder / "source"
            async with net.join("desk") as desk:
                with trio.move_on_after(120):
                    await confirmations.at_the_desk(desk, at_desk, CHECKED)
            (address,) = capsys.readouterr().out.splitlines()
            async with net.join("source") as node, node.contact(address, name="desk") as contact:
                await confirmations.say(contact, at_source, "the invoice is of May", last=False)
                await confirmations.say(contact, at_source, "it was paid twice", last=True)
                for junk in (b"not json", b"[" * 60_000, b'{"claim": 1}', b"[]"):
                    await contact.send(junk, ttl_seconds=HOUR).stored()
            assert capsys.readouterr().out.splitlines() == ["stored, at 4 relays"] * 2

            async with net.join("desk") as desk:
                with trio.move_on_after(HOUR):
                    await confirmations.at_the_desk(desk, at_desk, CHECKED)
            again, *claims, goes_on = capsys.readouterr().out.splitlines()
            assert again == address
            assert sorted(claims) == ["it was paid twice: no", "the invoice is of May: yes"]

            async with net.join("source") as node, node.contact(address, name="desk") as contact:
                with trio.fail_after(2 * HOUR):
                    await confirmations.hear(contact, at_source)
            heard = capsys.readouterr().out.splitlines()
            assert sorted(heard) == sorted([*claims, goes_on.replace(str(at_desk), str(at_source))])
            (key_at_desk,), (key_at_source,) = (list(one.glob("*.key")) for one in (at_desk, at_source))
            assert goes_on.endswith(f"; the key is in {key_at_desk}")
            assert confirmations.ELSEWHERE in goes_on
            assert key_at_desk.read_bytes() == key_at_source.read_bytes() != b""
            for key in (key_at_desk, key_at_source):
                assert stat.S_IMODE(key.stat().st_mode) == 0o600


async def test_an_answer_comes_also_to_a_later_run_and_none_holds_up_another(
    autojump_clock: MockClock, capsys: Captured
) -> None:
    """The journalist is there, so claims are delivered at once; the answers come when nobody listens."""
    async with small(8) as net, net.join("desk") as desk, net.join("source") as node:
        folder = net.folder / "source"
        async with desk.host(net.folder / "identity") as endpoint, trio.open_nursery() as nursery:
            await endpoint.reachable()
            answers = {
                "nonsense": b"nonsense",
                "a wrong date": b'{"answer": "yes", "uri": "x", "until": 1e400}',
                "a colour": b'{"answer": "a\\u001b[31m"}',
            }

            @nursery.start_soon
            async def answer() -> None:
                async for whisper in endpoint:
                    claim = json.loads(whisper.body)["claim"]
                    if claim in answers:
                        await whisper.reply(answers[claim])
                    else:
                        await whisper.done()  # no answer comes

            async with node.contact(endpoint.address, name="desk") as contact:
                for text in ("unanswered", *answers):
                    await confirmations.say(contact, folder, text, last=False)
            assert capsys.readouterr().out.splitlines() == ["delivered"] * 4
            async with node.contact(endpoint.address, name="desk") as contact:
                with trio.move_on_after(120):
                    await confirmations.hear(contact, folder)
            nursery.cancel_scope.cancel()
    assert sorted(capsys.readouterr().out.splitlines()) == [
        "a colour: a\N{REPLACEMENT CHARACTER}[31m",
        "a wrong date: an answer that this program does not understand",
        "nonsense: an answer that this program does not understand",
    ]


def test_a_mistake_gets_one_sentence(capsys: Captured) -> None:
    async def wrong_address() -> None:
        async with trio.open_nursery():
            raise onionshh.BadAddress("This is no address.")

    async def ended_by_hand() -> None:
        async with trio.open_nursery():
            raise KeyboardInterrupt

    assert confirmations.ended(wrong_address) == 1
    assert capsys.readouterr().err == "This is no address.\n"
    assert confirmations.ended(ended_by_hand) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "cannot read .*: No such file"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "should hold answers by claim"),
    ],
)
def test_what_was_checked_cannot_be_read(text: str | None, why: str, tmp_path: Path) -> None:
    file = tmp_path / "checked"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ValueError, match=why):
        confirmations.read_checked(file)
    file.write_text(json.dumps(CHECKED))
    assert confirmations.read_checked(file) == CHECKED
