"""What becomes of one's own post, as the program sees it."""

from __future__ import annotations

from typing import get_args

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from onionshh.client.board.posting import FINAL, Posting, PostOutcome, PostStatus
from onionshh.errors import NotStored


class Asked:
    """What a posting asks of the board behind it."""

    def __init__(self) -> None:
        self.outcome = PostOutcome("0f" * 16, 5000)
        self.ttls: list[float] = []
        self.recalls = 0
        self.posting = Posting(self.outcome, self._recall, self._extend)

    async def _recall(self) -> bool:
        self.recalls += 1
        return True

    async def _extend(self, ttl_seconds: float) -> bool:
        self.ttls.append(ttl_seconds)
        return False


def test_what_is_seen_at_first_and_later() -> None:
    asked = Asked()
    outcome, posting = asked.outcome, asked.posting
    assert (posting.id, posting.status, posting.why, posting.copies) == ("0f" * 16, "queued", "", (0, 4))
    assert (posting.expires, posting.proof_seconds, posting.is_final) == (5000, 0.0, False)
    assert repr(posting) == "<Posting queued>"
    outcome.tell("queued", "no room")
    assert repr(posting) == "<Posting queued: no room>"
    outcome.copies, outcome.expires, outcome.proof_seconds = 3, 6000, 1.5
    assert (posting.copies, posting.expires, posting.proof_seconds) == ((3, 4), 6000, 1.5)
    outcome.tell("stored")
    assert (posting.status, posting.why, posting.is_final) == ("stored", "", False)


@pytest.mark.parametrize("final", sorted(FINAL))
async def test_a_final_status_stays_and_is_waited_for_no_longer(
    final: PostStatus, autojump_clock: MockClock
) -> None:
    asked = Asked()
    asked.outcome.tell(final, "so it is")
    for other in get_args(PostStatus):
        asked.outcome.tell(other, "something else")
        assert (asked.posting.status, asked.posting.why) == (final, "so it is")
    assert asked.posting.is_final
    with trio.fail_after(1):
        assert await asked.posting.changed() is asked.posting
        with pytest.raises(NotStored, match="Not stored: so it is") as caught:
            await asked.posting.stored()
    assert (caught.value.status, caught.value.why) == (final, "so it is")
    with pytest.raises(ValueError, match=f"This post is {final} and cannot be extended"):
        await asked.posting.extend(600)
    assert asked.ttls == []
    assert await asked.posting.recall()
    assert asked.recalls == 1


async def test_whoever_waits_hears_of_each_change(autojump_clock: MockClock) -> None:
    asked, heard = Asked(), []

    async def follow() -> None:
        while not asked.posting.is_final:
            heard.append((await asked.posting.changed()).status)

    async def wait(result: list[str]) -> None:
        try:
            result.append((await asked.posting.stored()).status)
        except NotStored:
            result.append("not stored")

    stored: list[str] = []
    never: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        nursery.start_soon(wait, stored)
        await trio.testing.wait_all_tasks_blocked()
        asked.outcome.tell("queued", "no room")
        await trio.testing.wait_all_tasks_blocked()
        assert stored == []
        asked.outcome.tell("stored")
        await trio.testing.wait_all_tasks_blocked()
        assert stored == ["stored"]
        await wait(stored)
        asked.outcome.tell("expired")
        await wait(never)
    assert heard == ["queued", "stored", "expired"]
    assert never == ["not stored"]


@pytest.mark.parametrize("wrong", [59, 604_801, float("inf")])
async def test_it_is_extended_by_a_time_that_a_post_may_lie(wrong: float) -> None:
    asked = Asked()
    with pytest.raises(ValueError, match="ttl_seconds"):
        await asked.posting.extend(wrong)
    with pytest.raises(TypeError, match="ttl_seconds"):
        await asked.posting.extend("600")  # type: ignore[arg-type]
    assert not await asked.posting.extend(3600)
    assert asked.ttls == [3600]
