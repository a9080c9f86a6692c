"""The table of a relay's circuit: the one that is drawn, the one that is run, and what the loop goes by."""

from __future__ import annotations

from itertools import product

import pytest

from onionshh.core.base.params import Params
from onionshh.core.circuit.conversation import Conversation
from onionshh.core.circuit.window import Flow
from onionshh.core.link.outbox import CellQueue, Memory, Outbox
from onionshh.core.link.port import LinkPort
from onionshh.crypto.layers import RelayLayers
from onionshh.errors import ProtocolError
from onionshh.geometry import BINDING, CELL, LAYER_STATE
from onionshh.reasons import Reason
from onionshh.relay import state
from onionshh.relay.state import TABLE, Event, RelayCircuit, Stage, after
from onionshh.wire.cell import RELAY
from simulations.world import ANSWER, ASK, PureNetwork
from tests.seeded import seeded

EVERY = list(product(Stage, Event))
WAYS = {
    Stage.OPEN: (),
    Stage.DIALLING: (Event.EXTEND,),
    Stage.EXTENDING: (Event.EXTEND, Event.LINK),
    Stage.EXTENDED: (Event.EXTEND, Event.LINK, Event.CREATED),
    Stage.JOINED: (Event.JOIN,),
    Stage.ENDED: (Event.END,),
}
"""How a circuit comes to each stage."""


def drawn() -> dict[tuple[Stage, Event], str]:
    """The table at the head of the file, as it is written there."""
    lines = [line for line in (state.__doc__ or "").splitlines() if line.startswith("| ")]
    head, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {
        (Stage[stage], Event[row[0]]): said
        for row in rows
        for stage, said in zip(head[1:], row[1:], strict=True)
    }


def port() -> LinkPort:
    return LinkPort(Memory(1 << 20), [], peer=None, initiated=False, host="1.1.1.1", now=0.0)


def circuit_at(stage: Stage) -> RelayCircuit:
    """A circuit that came to this stage by the table, with all that belongs to it."""
    circuit, other = (new_circuit() for _ in range(2))
    for event in WAYS[stage]:
        match event:
            case Event.EXTEND:
                circuit.extend(5.0)
            case Event.LINK:
                circuit.extends_over(port(), 7)
            case Event.CREATED:
                circuit.extended()
            case Event.JOIN:
                circuit.joins(other)
                other.joins(circuit)
            case _:
                circuit.move(event)
    assert circuit.stage is stage
    return circuit


def new_circuit() -> RelayCircuit:
    params, at = Params(), port()
    talk = Conversation(
        Flow(params.ack_every, params.window),
        accepts=frozenset(),
        echoes=0,
        memory=at.outbox.memory,
        random_bytes=seeded(1),
    )
    return RelayCircuit(RelayLayers(bytes(LAYER_STATE), bytes(LAYER_STATE)), talk, bytes(BINDING), 1, at, 9)


def test_every_stage_and_every_event_is_drawn() -> None:
    assert sorted(drawn(), key=str) == sorted(EVERY, key=str)


@pytest.mark.parametrize("stage, event", EVERY, ids=lambda one: one.name)
def test_what_is_drawn_is_what_happens(stage: Stage, event: Event) -> None:
    said = drawn()[stage, event]
    circuit = circuit_at(stage)
    if said == "!":
        with pytest.raises(RuntimeError, match=f"{event.name} at a circuit that is {stage.name}"):
            circuit.move(event)
        assert circuit.stage is stage
    elif said in Stage.__members__ or said == "stays":
        circuit.move(event)
        assert circuit.stage is (stage if said == "stays" else Stage[said])
    else:
        with pytest.raises(ProtocolError) as ended:
            circuit.move(event)
        assert ended.value.reason == (Reason.CELL_UNRECOGNISED if said == "unrecognised" else said)
        assert circuit.stage is stage


@pytest.mark.parametrize("stage", Stage, ids=lambda one: one.name)
def test_the_loop_goes_by_what_the_table_says(stage: Stage) -> None:
    """A leg has somewhere to pass cells on to where the table lets a cell go on, and nowhere else."""
    circuit = circuit_at(stage)
    for leg in circuit.legs:
        event = Event.CELL_IN if leg.outward else Event.CELL_OUT
        assert (leg.onward is not None) == isinstance(TABLE.get((stage, event)), Stage), event
    if stage is Stage.EXTENDED:
        assert circuit.outward is not None
        assert circuit.inward.onward is circuit.outward
        assert circuit.outward.onward is circuit.inward
    if stage is Stage.JOINED:
        assert circuit.join is not None
        assert circuit.inward.onward is circuit.join.inward


def test_every_stage_is_reached_and_nothing_leads_out_of_the_last() -> None:
    reached = {outcome for outcome in TABLE.values() if isinstance(outcome, Stage)}
    assert reached == set(Stage)
    for event in Event:
        outcome = TABLE.get((Stage.ENDED, event))
        assert outcome in (None, Stage.ENDED, Reason.JOIN_GONE), event


def test_an_extend_remembers_when_it_came_until_it_is_answered() -> None:
    circuit = circuit_at(Stage.EXTENDING)
    assert circuit.extending is not None
    assert circuit.extending.since == 5.0
    with pytest.raises(ProtocolError, match=Reason.EXTEND_TIMEOUT):
        after(circuit.stage, Event.OVERDUE)
    assert circuit_at(Stage.EXTENDED).extending is None


def test_a_circuit_is_as_old_as_the_oldest_that_it_holds() -> None:
    circuit = circuit_at(Stage.EXTENDED)
    assert circuit.holds_since is None
    for at, leg in ((7.0, circuit.inward), (3.0, circuit.legs[1])):
        leg.port.outbox.memory.now = at
        leg.outbox.push(leg.queue, bytes(CELL))
    assert circuit.holds_since == 3.0


# Privacy classes, and what may stand in a leg's way.


@pytest.mark.parametrize("number", [0, 1, 2, 3, 255])
def test_every_relay_of_a_circuit_keeps_the_class_that_create_said(number: int) -> None:
    net = PureNetwork()
    relays = [net.relay() for _ in range(3)]
    client = net.client(relays[0])
    client.build(*relays, privacy_class=number)
    assert [relay.circuit.privacy_class for relay in relays] == [number] * 3


class DelayLine:
    """Holds a leg's cells back until it is told to let them go: what a class with delays needs."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.held: list[tuple[CellQueue, bytes]] = []

    @property
    def waiting(self) -> int:
        return len(self.held) + self._outbox.waiting

    def push(self, queue: CellQueue, cell: bytes) -> None:
        self.held.append((queue, cell))

    def count(self, queue: CellQueue) -> int:
        return sum(owner is queue for owner, _ in self.held) + self._outbox.count(queue)

    def discard(self, queue: CellQueue) -> int:
        self.held.clear()
        return self._outbox.discard(queue)

    def let_go(self) -> None:
        for queue, cell in self.held:
            self._outbox.push(queue, cell)
        self.held.clear()


def test_a_delay_line_may_stand_in_a_leg_and_holds_up_no_other_circuit() -> None:
    net = PureNetwork()
    guard, last = net.relay(), net.relay()
    client = net.client(guard)
    slow = client.build(guard, last)
    leg = guard.circuit.outward
    assert leg is not None
    line = DelayLine(leg.port.outbox)
    leg.outbox = line
    quick = client.build(guard, last)
    for circuit, word in ((slow, b"slow"), (quick, b"quick")):
        circuit.machine.accept(frozenset((ANSWER,)))
        client.send(circuit, ASK, word)
    assert [len(one.messages) for one in (slow, quick)] == [0, 1]
    assert [cell[4] for _, cell in line.held] == [RELAY]
    line.let_go()
    net.settle()
    assert slow.messages == [(1, ANSWER, b"slow")]
    client.send(slow, ASK, b"lost")
    assert line.held
    net.cut(client.port)
    net.settle()
    assert line.held == []
    assert guard.memory.used_bytes == 0
