"""Two sides over a network that loses, repeats and reorders, with crashes and old copies of their disks.

Whatever happens, no step is accepted twice, no key is used twice, and at worst a new introduction heals all.
"""

from __future__ import annotations

from random import Random

import pytest

from onionshh.core.session.session import SILENCES_MOST, Session
from tests.core.session.sides import Keys, Sent, Side, renew, sides, started

OPERATIONS = 300


class Network:
    """Both sides, and the cells between them. `keys` sees that none is used twice."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.keys = Keys()
        self.visitor, self.endpoint = sides(1000 * seed, self.keys)
        self._accepted: dict[Side, set[bytes]] = {self.visitor: set(), self.endpoint: set()}
        self._on_the_way: list[tuple[Side, Session, Sent]] = []
        self._next_root = 1_000_000 + 1000 * seed
        self.introductions = 0
        self.resumed = 0
        self.refreshes = 0

    def other(self, side: Side) -> Side:
        return self.endpoint if side is self.visitor else self.visitor

    def any_side(self) -> Side:
        return self.random.choice((self.visitor, self.endpoint))

    def run(self) -> None:
        """Many things happen."""
        for _ in range(OPERATIONS):
            self.random.choices(
                (self.send, self.deliver, self.crash, self.refresh, self.lose), (40, 40, 4, 4, 2)
            )[0]()

    def send(self) -> None:
        """One side spends a step, and may crash before it syncs, or between that and the cell."""
        side = self.any_side()
        if not side.session.may_spend:
            if side is self.visitor:
                self.introduce()
            return
        if not self.random.randrange(20):
            side.session.spend()
            side.restart()
            return
        legs = int(side.session.last_without_answer or self.random.random() < 0.4)
        sent = side.resume(legs, self.random.randbytes(self.random.randrange(300)))
        if not self.random.randrange(20):
            side.restart()
            return
        self._on_the_way.append((side, side.session, sent))

    def deliver(self) -> None:
        """Any cell arrives, and perhaps arrives again."""
        if not self._on_the_way:
            return
        at = self.random.randrange(len(self._on_the_way))
        sender, session, sent = self._on_the_way[at]
        if self.random.random() < 0.8:
            del self._on_the_way[at]
        receiver = self.other(sender)
        taken = receiver.take(sent.message)
        if taken is None:
            return
        assert taken.step not in self._accepted[receiver], "a step was accepted twice"
        assert taken.step == sent.spent.step
        self._accepted[receiver].add(taken.step)
        self.resumed += 1
        if sent.legs:
            # The answer comes over a circuit, which only the process that sent the cell has.
            if sender.session is session and taken.answer is not None and self.random.random() < 0.8:
                sender.answered(sent, taken.answer)
                sender.sync()
            elif sender.session is session:
                session.silent()

    def lose(self) -> None:
        """Half of all cells are lost. Those that asked for a circuit are missed."""
        for sender, session, sent in self._on_the_way[::2]:
            if sent.legs and sender.session is session:
                session.silent()
        del self._on_the_way[::2]

    def crash(self) -> None:
        self.any_side().restart()

    def refresh(self) -> None:
        """A refresh over a circuit that may end, with crashes of either side at any point."""
        refreshed = self.endpoint.answers(self.visitor.offers())
        if self._crashes(self.endpoint) or refreshed is None:
            return
        self.endpoint.sync()
        if self._crashes(self.endpoint, self.visitor) or not self.random.randrange(5):
            return
        renewed = self.visitor.renewed(refreshed)
        if self._crashes(self.visitor):
            return
        self.visitor.sync()
        self.refreshes += renewed
        self._crashes(self.visitor, self.endpoint)

    def _crashes(self, *sides: Side) -> bool:
        crashed = [side for side in sides if not self.random.randrange(8)]
        for side in crashed:
            side.restart()
        return bool(crashed)

    def introduce(self) -> None:
        """A new session, which the endpoint has on its disk."""
        self._next_root += 1
        visitor, endpoint = started(self._next_root)
        self.visitor.begin(visitor)
        self.endpoint.begin(endpoint)
        self.introductions += 1

    def put_back(self, side: Side) -> None:
        """This side gets an old copy of its disk. It cannot know what it accepted since."""
        side.restart(back=self.random.randrange(1, 30))
        self._accepted[side].clear()

    def meet(self) -> int:
        """The visitor comes. How many silences that took; after two it introduces itself anew."""
        silences = 0
        while not (self.visitor.session.may_spend and self.visitor.reaches(self.endpoint)):
            if not self.visitor.session.may_spend:
                self.introduce()
            silences += 1
        return silences


@pytest.mark.parametrize("seed", range(20))
def test_no_step_and_no_key_comes_twice_and_crashes_part_nobody(seed: int) -> None:
    network = Network(seed)
    network.run()
    assert network.resumed > OPERATIONS // 10
    for side in (network.visitor, network.endpoint, network.visitor):
        side.restart()
        if side.session.may_spend:
            assert side.reaches(network.other(side)), "disks that were synced in order always fit"
    while not network.visitor.session.may_spend:
        network.introduce()
    assert network.visitor.reaches(network.endpoint)
    assert network.endpoint.session.chains.epoch == network.visitor.session.chains.epoch
    assert renew(network.visitor, network.endpoint)
    assert network.visitor.reaches(network.endpoint)
    assert network.endpoint.reaches(network.visitor)


def test_the_scripts_have_all_of_it() -> None:
    networks = [Network(seed) for seed in range(10)]
    for network in networks:
        network.run()
    assert sum(network.introductions for network in networks) > 3
    assert sum(network.refreshes for network in networks) > 30


@pytest.mark.parametrize("who", ["visitor", "endpoint", "both"])
@pytest.mark.parametrize("seed", range(8))
def test_an_old_copy_repeats_no_key_and_is_healed_within_two_silences(seed: int, who: str) -> None:
    network = Network(100 + seed)
    for _ in range(4):
        network.run()
        for side in (network.visitor, network.endpoint):
            if who in (side_name(network, side), "both"):
                network.put_back(side)
        for _ in range(30):
            network.deliver()  # old cells come again to a disk that has forgotten them
        assert network.meet() <= SILENCES_MOST
        if not renew(network.visitor, network.endpoint):
            network.introduce()  # it was reached by a step that both had left over; the chains do not fit
        assert network.visitor.reaches(network.endpoint)
        network.endpoint.session.silences = 0  # as when a peer comes
        assert network.endpoint.reaches(network.visitor)


def side_name(network: Network, side: Side) -> str:
    return "visitor" if side is network.visitor else "endpoint"


def test_an_old_copy_that_spends_its_steps_again_is_refused() -> None:
    visitor, endpoint = sides(5)
    for _ in range(6):
        assert visitor.reaches(endpoint)
    visitor.restart(back=6)
    assert visitor.session.chains.spend.index == 0
    assert not visitor.reaches(endpoint)
    assert not visitor.reaches(endpoint)
    assert not visitor.session.may_spend


def test_an_endpoint_that_forgot_more_than_the_window_is_introduced_to_anew() -> None:
    visitor, endpoint = sides(6)
    for _ in range(40):
        assert visitor.reaches(endpoint)
    endpoint.restart(back=40)
    assert not visitor.reaches(endpoint)
    assert not visitor.reaches(endpoint)
    assert not visitor.session.may_spend


def test_an_endpoint_that_forgot_a_little_is_reached_at_once() -> None:
    visitor, endpoint = sides(7)
    for _ in range(10):
        assert visitor.reaches(endpoint)
    endpoint.restart(back=10)
    assert visitor.reaches(endpoint)
