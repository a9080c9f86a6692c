"""The posts of each author in order: the whole table of what happens to a post, by its number (SPEC 14)."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from random import Random

import pytest

from onionshh.core.board import lines
from onionshh.core.board.lines import BEGIN_SECONDS, GAP_SECONDS, Arrived, Lines

ALICE, BOB = b"a" * 32, b"b" * 32


def post(number: int, author: bytes = ALICE, *, posted: int = 0, mark: bytes = b"", size: int = 4) -> Arrived:
    """A post of this number. `mark`: for another one of the same number."""
    post_id = (bytes((number % 256,)) + mark).ljust(16, b"\0")
    return Arrived(author, number, post_id, posted, bytes(size))


def given(made: Lines, now: float, *posts: Arrived, settled: float = -inf) -> list[tuple[int, int, bool]]:
    """What is given when these have come: number, how many are missing, and whether it is late."""
    for one in posts:
        made.add(one, now)
    return [(one.number, one.missing, one.late) for one in made.take(now, settled=settled)]


def test_without_an_author_it_is_given_at_once_and_nothing_is_remembered() -> None:
    made = Lines({})
    assert given(made, 0.0, post(0), post(0, BOB)) == [(0, 0, False)] * 2
    assert (made.held, made.highest(ALICE), made.next_deadline) == (0, 0, None)
    assert given(made, 0.0, post(0, mark=b"x")) == [(0, 0, False)]  # the key again, which nobody honest does


def test_the_first_and_each_next_are_given_at_once() -> None:
    made = Lines({})
    assert given(made, 0.0, post(1)) == [(1, 0, False)]
    assert given(made, 0.0, post(2), post(3)) == [(2, 0, False), (3, 0, False)]
    assert made.highest(ALICE) == 3
    assert made.highest(BOB) == 0
    assert (made.held, made.next_deadline) == (0, None)


def test_an_author_who_is_new_here_begins_with_the_lowest_that_came_in_ten_seconds() -> None:
    made = Lines({})
    assert given(made, 100.0, post(9)) == []
    assert (made.held, made.highest(ALICE), made.next_deadline) == (1, 9, 100.0 + BEGIN_SECONDS)
    assert given(made, 109.0, post(7)) == []
    assert given(made, 109.9) == []
    assert given(made, 110.0) == [(7, 0, False)]  # nothing is known of what was before
    assert made.next_deadline == 100.0 + GAP_SECONDS
    assert given(made, 159.9) == []
    assert given(made, 160.0) == [(9, 1, False)]
    assert (made.highest(ALICE), made.held) == (9, 0)


def test_the_first_of_all_begins_the_line_and_ends_the_wait() -> None:
    made = Lines({})
    assert given(made, 0.0, post(2)) == []
    assert given(made, 3.0, post(1)) == [(1, 0, False), (2, 0, False)]


def test_beyond_a_gap_it_is_held_until_the_gap_is_filled_or_a_minute_is_over() -> None:
    made = Lines({ALICE: 4})
    assert given(made, 0.0, post(7), post(6)) == []
    assert (made.held, made.highest(ALICE), made.next_deadline) == (2, 7, GAP_SECONDS)
    assert given(made, 30.0, post(5)) == [(5, 0, False), (6, 0, False), (7, 0, False)]
    assert given(made, 40.0, post(11)) == []
    assert given(made, 40.0 + GAP_SECONDS - 0.1) == []
    assert given(made, 40.0 + GAP_SECONDS) == [(11, 3, False)]


def test_what_is_behind_what_is_given_does_not_wait_longer() -> None:
    made = Lines({ALICE: 1})
    assert given(made, 0.0, post(5)) == []
    assert given(made, 50.0, post(3)) == []
    assert given(made, 60.0) == [(3, 1, False), (5, 1, False)]


def test_what_comes_after_the_gap_was_given_is_late() -> None:
    made = Lines({ALICE: 1})
    assert given(made, 0.0, post(3), settled=inf) == [(3, 1, False)]
    assert given(made, 1.0, post(2)) == [(2, 0, True)]
    assert given(made, 2.0, post(3, mark=b"another machine")) == [(3, 0, True)]
    assert given(made, 3.0, post(4)) == [(4, 0, False)]
    assert made.highest(ALICE) == 4


def test_two_of_one_number_are_both_given() -> None:
    made = Lines({})
    twice = (post(1), post(1, mark=b"x"), post(2), post(2, mark=b"x"))
    assert given(made, 0.0, *twice) == [(1, 0, False), (1, 0, True), (2, 0, False), (2, 0, True)]
    held = Lines({ALICE: 1})
    assert given(held, 0.0, post(3), post(3, mark=b"x")) == []
    assert given(held, GAP_SECONDS) == [(3, 1, False), (3, 0, True)]


def test_when_all_relays_were_asked_nothing_is_held() -> None:
    made = Lines({BOB: 2})
    posts = (post(8), post(5), post(6, BOB), post(3, BOB))
    assert given(made, 0.0, *posts) == [(3, 0, False)]
    assert sorted(given(made, 0.0, settled=inf)) == [(5, 0, False), (6, 2, False), (8, 2, False)]
    assert (made.held, made.next_deadline) == (0, None)


def test_what_was_posted_a_while_ago_is_not_held_when_all_relays_were_asked() -> None:
    made = Lines({ALICE: 1, BOB: 1})
    posts = (post(4, posted=100), post(3, posted=200), post(6, posted=201), post(3, BOB, posted=201))
    assert given(made, 0.0, *posts, settled=99) == []
    assert given(made, 0.0, settled=200) == [(3, 1, False), (4, 0, False)]  # what is behind waits for it
    assert given(made, 0.0, settled=200) == []
    assert (made.held, made.next_deadline) == (2, GAP_SECONDS)
    assert given(made, 0.0, post(5)) == [(5, 0, False), (6, 0, False)]
    assert given(made, 0.0, settled=201) == [(3, 1, False)]


def test_each_author_waits_alone() -> None:
    made = Lines({ALICE: 1, BOB: 1})
    assert given(made, 0.0, post(3)) == []
    assert given(made, 20.0, post(3, BOB)) == []
    assert made.next_deadline == GAP_SECONDS
    assert [one.author for one in made.take(GAP_SECONDS)] == [ALICE]
    assert made.next_deadline == 20.0 + GAP_SECONDS


def test_lines_are_mixed_by_the_times_that_authors_give() -> None:
    made = Lines({})
    posts = [
        post(1, ALICE, posted=100),
        post(2, ALICE, posted=400),
        post(3, ALICE, posted=50),  # its author's order counts more
        post(1, BOB, posted=200),
        post(2, BOB, posted=300),
        post(0, b"c" * 32, posted=250),
    ]
    Random(1).shuffle(posts)
    for one in posts:
        made.add(one, 0.0)
    order = [(one.author[:1], one.number) for one in made.take(0.0, settled=inf)]
    assert order == [(b"a", 1), (b"b", 1), (b"c", 0), (b"b", 2), (b"a", 2), (b"a", 3)]


def test_at_most_so_many_are_held_and_those_that_waited_longest_go_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lines, "HELD_MOST", 3)
    made = Lines({ALICE: 1, BOB: 1})
    assert given(made, 0.0, post(5)) == []
    assert given(made, 1.0, post(5, BOB), post(7, BOB)) == []
    assert given(made, 2.0, post(9, BOB)) == [(5, 3, False)]
    assert (made.held, made.highest(ALICE), made.highest(BOB)) == (3, 5, 9)


def test_at_most_so_many_bytes_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "HELD_BYTES_MOST", 100)
    made = Lines({ALICE: 1})
    assert given(made, 0.0, post(4, size=60), post(6, size=40)) == []
    assert given(made, 1.0, post(8, size=1)) == [(4, 2, False)]
    assert made.held == 2
    assert given(made, 2.0, post(10, size=101)) == [(6, 1, False), (8, 1, False), (10, 1, False)]
    assert made.held == 0


def test_of_so_many_authors_only_the_last_number_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LINES_MOST", 3)
    authors = [bytes((n,)) * 32 for n in range(5)]
    made = Lines({authors[0]: 7, authors[1]: 8, authors[2]: 9})
    assert given(made, 0.0, post(8, authors[0])) == [(8, 0, False)]  # the last one by now
    assert given(made, 0.0, post(1, authors[3])) == [(1, 0, False)]
    assert [made.highest(author) for author in authors[:4]] == [8, 0, 9, 1]
    assert given(made, 0.0, post(5, authors[4])) == []  # what is held is not forgotten
    assert [made.highest(author) for author in authors[:4]] == [8, 0, 0, 1]
    assert given(made, BEGIN_SECONDS) == [(5, 0, False)]
    assert made.highest(authors[4]) == 5


def strangers(begin: int, count: int) -> list[Arrived]:
    """The first posts of so many authors of whom there is no other."""
    return [post(1, number.to_bytes(32)) for number in range(begin, begin + count)]


@pytest.mark.parametrize("posts", [1, 3, 10])
def test_to_hide_a_gap_takes_as_many_strangers_as_there_are_lines_times_the_authors_posts(posts: int) -> None:
    def missing(crowd: int) -> int:
        made = Lines({})
        given(made, 0.0, *(post(number) for number in range(1, posts + 1)))
        for begin in range(0, crowd, 256):  # they come by and by
            given(made, 1.0, *strangers(begin, min(256, crowd - begin)))
        ((_, missing, _),) = given(made, 2.0, post(posts + 6), settled=inf)
        return missing

    assert missing(posts * lines.LINES_MOST - 1) == 5
    assert missing((posts + 1) * lines.LINES_MOST) == 0  # as for an author who is new: nobody knows


def test_authors_of_the_past_do_not_keep_new_ones_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LINES_MOST", 3)
    past = [bytes((n,)) * 32 for n in range(3)]
    made = Lines(dict.fromkeys(past, 50), dict.fromkeys(past, 50))
    assert given(made, 0.0, post(1)) == [(1, 0, False)]
    assert given(made, 0.0, post(2, BOB), settled=inf) == [(2, 0, False)]
    assert given(made, 0.0, post(2), post(4), settled=inf) == [(2, 0, False), (4, 1, False)]


@pytest.mark.parametrize(("count", "rank"), [(4096, 50), (4096, 1), (5000, 50), (4095, 50), (0, 0)])
def test_after_a_restart_no_gap_of_a_new_author_is_hidden_by_lines_of_the_past(count: int, rank: int) -> None:
    past = [number.to_bytes(32) for number in range(count)]
    made = Lines(dict.fromkeys(past, 5), dict.fromkeys(past, rank))
    assert count in (0, 4095, 5000) or count == lines.LINES_MOST
    given(made, 0.0, post(1))
    gaps = [missing for n in range(4, 150, 3) for _, missing, _ in given(made, 0.0, post(n), settled=inf)]
    assert gaps == [2] * 49


def test_a_post_keeps_what_it_is() -> None:
    made, one = Lines({ALICE: 1}), post(4, posted=1_790_000_000)
    made.add(one, 0.0)
    assert made.take(0.0, settled=inf) == (replace(one, missing=2),)
    assert repr(one.body) not in repr(one)


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_lost_and_nothing_given_twice(seed: int) -> None:
    """Posts come in any order with losses and doubles, while time passes; now and then all is settled."""
    draw = Random(seed)
    authors = [bytes((n,)) * 32 for n in range(3)]
    begun = {author: draw.choice([0, 0, 5]) for author in authors}
    coming = [
        post(number, author, posted=draw.randrange(100), mark=bytes((double,)))
        for author in authors
        for number in range(0, 30)
        for double in range(draw.choice([0, 1, 1, 1, 1, 1, 2]))
    ]
    draw.shuffle(coming)
    coming.sort(key=lambda one: one.number + draw.randrange(12))
    made, now, out = Lines({author: last for author, last in begun.items() if last}), 0.0, list[Arrived]()
    for one in coming:
        made.add(one, now)
        settle = draw.random() < 0.03
        out += made.take(now, settled=inf if settle else -inf)
        assert not (settle and made.held)
        assert made.next_deadline is None or now < made.next_deadline <= now + GAP_SECONDS
        now += draw.choice([0.0, 0.0, 1.0, 4.0, 30.0])
    out += made.take(now + GAP_SECONDS)
    assert (made.held, made.next_deadline) == (0, None)
    assert sorted((one.author, one.post_id) for one in out) == sorted(
        (one.author, one.post_id) for one in coming
    )
    for author in authors:
        line = [one for one in out if one.author == author and one.number]
        last = begun[author]
        for place, one in enumerate(line):
            assert one.late == (one.number <= last)
            if not one.late:
                assert one.missing == (one.number - last - 1 if last or place else 0)
                last = one.number
        assert made.highest(author) == last
