"""The parts of a letter come together (SPEC 14)."""

from __future__ import annotations

import itertools

import pytest

from onionshh.core.mailbox.gather import BYTES_MOST, LETTERS_MOST, Gather
from onionshh.core.mailbox.letter import split
from onionshh.errors import ProtocolError
from onionshh.geometry import LETTER_CHUNK
from onionshh.reasons import Reason

END = 1_728_000_000


def test_a_letter_of_one_part_is_whole_at_once() -> None:
    gather = Gather()
    assert gather.add("a", 0, 1, b"x", END) == b"x"
    assert (len(gather), gather.kept_bytes) == (1, 1)
    gather.done("a")
    gather.done("a")
    assert (len(gather), gather.kept_bytes) == (0, 0)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_parts_come_in_any_order_and_more_than_once(order: tuple[int, ...]) -> None:
    whole = bytes(range(251)) * 66
    chunks = split(whole[:16_424])
    gather = Gather()
    for part in order[:3]:
        assert gather.add("a", part, 4, chunks[part], END) is None
        assert gather.add("a", part, 4, chunks[part], END) is None
    assert gather.kept_bytes == sum(len(chunks[part]) for part in order[:3])
    for _ in range(2):  # a reader that could not keep the whole brings the part again
        assert gather.add("a", order[3], 4, chunks[order[3]], END) == whole[:16_424]
    gather.done("a")
    assert (len(gather), gather.kept_bytes) == (0, 0)


def test_letters_do_not_mix() -> None:
    gather = Gather()
    assert gather.add("a", 0, 2, b"a0", END) is None
    assert gather.add("b", 1, 2, b"b1", END) is None
    assert gather.add("a", 1, 2, b"a1", END) == b"a0a1"
    assert gather.add("b", 0, 2, b"b0", END) == b"b0b1"


def test_a_part_that_contradicts_is_refused_and_the_earlier_ones_stay() -> None:
    gather = Gather()
    assert gather.add("a", 0, 4, b"a0", END) is None
    for part, parts, chunk in ((0, 4, b"other"), (0, 1, b"a0"), (1, 16, b"a1")):
        with pytest.raises(ProtocolError) as caught:
            gather.add("a", part, parts, chunk, END)
        assert caught.value.reason == Reason.LETTER_PARTS
    assert gather.kept_bytes == 2
    assert [gather.add("a", part, 4, b"x", END) for part in (1, 2, 3)] == [None, None, b"a0xxx"]


def test_what_has_expired_is_given_up_and_said_once() -> None:
    gather = Gather()
    gather.add("a", 0, 2, b"a", END)
    gather.add("b", 0, 2, b"b", END + 1)
    gather.add("c", 0, 4, b"c", END)
    gather.add("c", 1, 4, b"c", END + 5)
    assert gather.dropped(END - 1) == ()
    assert gather.dropped(END) == (("a", Reason.LETTER_EXPIRED),)
    assert gather.dropped(END) == ()
    assert {name for name, _ in gather.dropped(END + 5)} == {"b", "c"}
    assert (len(gather), gather.kept_bytes) == (0, 0)


def test_at_the_bound_the_letter_that_waited_longest_makes_room() -> None:
    gather = Gather()
    for number in range(LETTERS_MOST):
        gather.add(number, 0, 4, b"x", END)
    gather.add(0, 1, 4, b"x", END)  # it has just grown
    gather.add("new", 0, 4, b"x", END)
    assert len(gather) == LETTERS_MOST
    assert gather.dropped(END - 1) == ((1, Reason.LETTER_DISPLACED),)


def test_bytes_are_bounded_too() -> None:
    gather = Gather()
    chunk = bytes(LETTER_CHUNK)
    dropped = []
    for number in range(100):
        for part in range(15):
            assert gather.add(number, part, 16, chunk, END) is None
            assert gather.kept_bytes <= BYTES_MOST
        dropped += [name for name, _ in gather.dropped(END - 1)]
    assert dropped == list(range(len(dropped)))
    assert gather.kept_bytes > BYTES_MOST - 15 * LETTER_CHUNK
    assert gather.add(99, 15, 16, chunk, END) == chunk * 16
