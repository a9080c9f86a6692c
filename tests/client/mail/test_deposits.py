"""Letters that are remembered in memory only, and what is known of one part."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onionshh.client.mail.deposits import DepositsInMemory, KeptItem, KeptLetter, beside
from onionshh.core.mailbox.copies import Copy, CopyState
from onionshh.core.mailbox.work import NO_PROOF
from onionshh.errors import BadData
from onionshh.ids import RelayId
from onionshh.wire.mailbox import INBOX, Mailbox
from tests.client.mail.postal import LETTER, sealed

BOX = Mailbox(INBOX, bytes(range(32)), 7)


async def test_it_remembers_until_it_is_told_to_forget() -> None:
    deposits, items = DepositsInMemory(), sealed(BOX, 5000, 4)
    await deposits.add(LETTER, items, 4000)
    copy = Copy(RelayId(bytes(32)), 1, CopyState.TRIED)
    await deposits.copied(items[1].item_id, copy)
    await deposits.proved(items[1].item_id, 9, bytes(16))
    (kept,) = await deposits.load()
    assert (kept.letter, kept.until, kept.recalled) == (LETTER, 4000, False)
    assert [part.copies for part in kept.items] == [(), (copy,), (), ()]
    assert [part.effort for part in kept.items] == [0, 9, 0, 0]
    assert await deposits.value(items[3].item_id) == items[3].value
    deposits.forget(LETTER)
    assert await deposits.load() == []
    with pytest.raises(BadData):
        await deposits.value(items[3].item_id)


def test_no_secret_is_shown() -> None:
    (item,) = sealed(BOX, 5000)
    kept = KeptLetter(LETTER, 4000, False, (KeptItem.of(item),))
    for shown in (repr(item), repr(kept)):
        assert repr(item.seed) not in shown
        assert repr(item.value)[:20] not in shown
    assert KeptItem.of(item).item_id == item.item_id


def test_a_part_that_ends_at_another_time_is_the_next_revision_which_no_relay_is_known_to_have() -> None:
    (item,) = sealed(BOX, 5000)
    relays = [RelayId(bytes((n,)) * 32) for n in range(3)]
    copies = tuple(Copy(relay, 0, state) for relay, state in zip(relays, CopyState, strict=True))
    kept = replace(KeptItem.of(item), effort=9, nonce=b"n" * 16, copies=copies)
    later = kept.extended(9000)
    assert (later.expires, later.revision, later.effort, later.nonce) == (9000, 1, 0, NO_PROOF)
    states = [copy.state for copy in later.copies]
    assert states == [CopyState.TRIED, CopyState.TRIED, CopyState.ERASED]
    assert [copy.relay for copy in later.copies] == relays
    assert (later.item_id, later.mailbox, later.seed) == (kept.item_id, kept.mailbox, kept.seed)
    assert later.extended(100).revision == 2


async def test_a_letter_that_is_extended_in_memory_is_loaded_so() -> None:
    deposits, items = DepositsInMemory(), sealed(BOX, 5000, 4)
    await deposits.add(LETTER, items, 4000)
    await deposits.extended(LETTER, 9000)
    await deposits.extended(beside(LETTER), 1)  # unknown: nothing happens
    (kept,) = await deposits.load()
    assert (kept.until, {part.expires for part in kept.items}) == (9000, {9000})
    assert {part.revision for part in kept.items} == {1}
    assert await deposits.value(items[3].item_id) == items[3].value
