"""Letters that are remembered in memory only, and what is known of one part."""

from __future__ import annotations

import pytest

from onionshh.client.mail.deposits import DepositsInMemory, KeptItem, KeptLetter
from onionshh.core.mailbox.copies import Copy, CopyState
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
