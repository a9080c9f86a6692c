"""Sharing by origin: who goes first, and that it stays quick however many origins there are (SPEC 17)."""

from __future__ import annotations

from random import Random

from onionshh.rendezvous.shares import Rank, Shares


def test_of_the_origin_that_holds_most_the_lowest_goes_first() -> None:
    shares: Shares[str] = Shares()
    for rank, (name, origin) in enumerate([("a", "x"), ("b", "y"), ("c", "y"), ("d", "y")]):
        shares.add(name, origin, (rank,))
    assert shares.goes_first() == "b"
    assert not shares.would_stay("e", "y", (-1,))
    assert shares.would_stay("e", "y", (9,))
    assert shares.would_stay("e", "z", (-1,))
    assert len(shares) == 4
    shares.add("b", "z", (1,))
    assert shares.goes_first() == "c"
    shares.remove("c")
    shares.remove("c")
    assert shares.goes_first() == "a", "all hold as many, and the rank decides"


def test_of_two_origins_the_one_that_holds_less() -> None:
    shares: Shares[str] = Shares()
    for number in range(5):
        shares.add(f"crowd{number}", "crowded", (number,))
    shares.add("mine", "quiet", (9,))
    assert shares.lesser("mine", "crowded") == "quiet"
    assert shares.lesser("crowd0", "quiet") == "quiet"
    assert shares.lesser("crowd0", "new") == "new"
    assert shares.lesser("mine", "new") == "quiet", "none gains, so nothing changes"


def test_it_is_what_looking_at_everything_says() -> None:
    random = Random(7)
    shares: Shares[int] = Shares()
    held: dict[int, tuple[str, Rank]] = {}
    for step in range(4000):
        if held and random.random() < 0.45:
            name = random.choice(sorted(held))
            del held[name]
            shares.remove(name)
        else:
            name = random.randrange(300)
            held[name] = (f"origin{int(random.expovariate(0.3))}", (random.randrange(3), -step))
            shares.add(name, *held[name])
        assert len(shares) == len(held)
        if held:
            counts: dict[str, int] = {}
            for origin, _ in held.values():
                counts[origin] = counts.get(origin, 0) + 1
            first = min(held, key=lambda name: (-counts[held[name][0]], held[name][1]))
            assert shares.goes_first() == first
