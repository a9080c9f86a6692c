"""Circuits by the thousand at one relay's switch, in a process of its own: their CPU and their memory.

    python -m tests.benchmarks.circuits cpu | active | rested

The switch, its circuits, links' ports and ciphers are the product's; only the handshakes are left out: a
circuit is put where `relay/create.py` would put it. Each comes over one link and goes on over another.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import time
from collections.abc import Sequence
from typing import Any

from onionshh.core.base.drops import Drops
from onionshh.core.base.params import Params
from onionshh.core.circuit.conversation import Conversation
from onionshh.core.circuit.window import Flow
from onionshh.core.link.outbox import Memory, Outbox
from onionshh.core.link.port import LinkPort
from onionshh.crypto.layers import RelayLayers
from onionshh.geometry import BINDING, BODY, FRAME_CELLS, LAYER_STATE
from onionshh.ids import RelayId
from onionshh.net.freed_memory import give_back
from onionshh.relay.forward import Switch
from onionshh.relay.state import RelayCircuit
from onionshh.wire.cell import HEADER, RELAY
from tests.benchmarks.processes import memory_kib

COUNTS = (1, 10, 100, 1_000, 10_000)
ROUNDS = 9
FRAMES_A_ROUND = 80
MEMORY_CIRCUITS = 5_000
BATCH = 100
"""Circuits that one frame wakes; less than a frame holds, so that each costs the same."""


class Forwarding:
    """A relay's switch between two links, with as many circuits as it is given. Ids count from 1."""

    def __init__(self) -> None:
        params = Params()
        self._flow = Flow(params.ack_every, params.window)
        self._memory = Memory(1 << 30)
        self._touched: list[Outbox] = []
        drops = Drops()
        self.switch = Switch(
            identity=RelayId(bytes(32)),
            onion_keys=lambda: (),
            knows=lambda identity: False,
            params=lambda: params,
            roles=(),
            memory=self._memory,
            drops=drops,
            random_bytes=os.urandom,
            wall=lambda: int(time.time()),
        )
        self.drops = drops
        self.near = self._port(None)
        self.far = self._port(RelayId(b"\x01" * 32))

    def add(self, circuit_id: int) -> RelayCircuit:
        """One more circuit, as it is once the next hop has answered."""
        conversation = Conversation(
            self._flow, accepts=frozenset(), echoes=9, memory=self._memory, random_bytes=os.urandom
        )
        layers = RelayLayers(os.urandom(LAYER_STATE), os.urandom(LAYER_STATE))
        circuit = RelayCircuit(layers, conversation, os.urandom(BINDING), 1, self.near, circuit_id)
        self.near.legs[circuit_id] = circuit.inward
        circuit.extend(0.0)
        circuit.extends_over(self.far, circuit_id)
        circuit.extended()
        self.switch.control.circuits[circuit] = None
        return circuit

    def both_ways(self, ids: Sequence[int]) -> None:
        """One cell of each circuit out, and one back."""
        self.carry(self.near, frame_of(ids))
        self.carry(self.far, frame_of(ids))

    def carry(self, port: LinkPort, frame: bytes) -> None:
        """What a link's driver does with a frame, sealing and sockets left out."""
        self.switch.receive_frame(port, frame, 1.0)
        for outbox in self._touched:
            outbox.untouch()
            while outbox.waiting:
                b"".join(outbox.take(FRAME_CELLS))
        self._touched.clear()

    def _port(self, peer: RelayId | None) -> LinkPort:
        port = LinkPort(
            self._memory, self._touched, peer=peer, initiated=peer is not None, host="1.1.1.1", now=0.0
        )
        self.switch.link_opened(port, 0.0)
        return port


def frame_of(ids: Sequence[int]) -> bytes:
    """A frame's plaintext: one RELAY cell of each of these circuits, its body noise as on the wire."""
    noise = os.urandom(BODY)
    return b"".join(HEADER.pack(circuit_id, RELAY) + noise for circuit_id in ids)


def cpu_by_circuits() -> dict[str, Any]:
    """{count: the least CPU microseconds a forwarded cell took}, the counts in turns.

    In turns, so that whatever slows the machine for a while slows all counts; the least, since another
    process can only add.
    """
    relays = {count: _filled(count) for count in COUNTS}
    gc.collect()
    gc.freeze()  # as `onionshh relay` does
    least = dict.fromkeys(COUNTS, float("inf"))
    chance = random.Random(1)
    for _ in range(ROUNDS):
        for count, relay in relays.items():
            ids = range(1, count + 1)
            spent = 0.0
            for number in range(FRAMES_A_ROUND):
                port = relay.far if number % 2 else relay.near
                frame = frame_of(chance.choices(ids, k=FRAME_CELLS))
                spent += _cpu_of(relay, port, frame)
            least[count] = min(least[count], spent / (FRAMES_A_ROUND * FRAME_CELLS))
    for count, relay in relays.items():
        if relay.drops.counts or len(relay.switch.circuits) != count:
            raise RuntimeError(f"circuits were lost: {relay.drops.counts}")
    return {str(count): seconds * 1e6 for count, seconds in least.items()}


def active_then_rested() -> dict[str, Any]:
    """KiB a circuit: after forwarding both ways, and once all rest; µs that the next cell takes then."""
    relay = _warm()
    before = memory_kib(os.getpid())
    _fill(relay, MEMORY_CIRCUITS)
    active = memory_kib(os.getpid())
    _rest_all(relay)
    rested = memory_kib(os.getpid())
    resting = _next_cells(relay)
    awake = _next_cells(relay)
    return {
        "active": (active - before) / MEMORY_CIRCUITS,
        "rested": (rested - before) / MEMORY_CIRCUITS,
        "next_resting": resting * 1e6,
        "next_awake": awake * 1e6,
    }


def rested_one_after_another() -> dict[str, Any]:
    """KiB a circuit, each made, used both ways and rested before the next is made."""
    relay = _warm()
    before = memory_kib(os.getpid())
    for circuit_id in range(1, MEMORY_CIRCUITS + 1):
        circuit = relay.add(circuit_id)
        relay.both_ways([circuit_id])
        circuit.layers.rest()
    return {"rested": (memory_kib(os.getpid()) - before) / MEMORY_CIRCUITS}


def _filled(count: int) -> Forwarding:
    relay = Forwarding()
    _fill(relay, count)
    return relay


def _fill(relay: Forwarding, count: int) -> None:
    """So many circuits, each of which has forwarded a cell both ways."""
    for at in range(1, count + 1, BATCH):
        ids = range(at, min(at + BATCH, count + 1))
        for circuit_id in ids:
            relay.add(circuit_id)
        relay.both_ways(ids)


def _warm() -> Forwarding:
    """A switch that has seen a few circuits come and go, so that what is loaded once is not counted."""
    relay = Forwarding()
    ids = range(1, BATCH + 1)
    circuits = [relay.add(circuit_id) for circuit_id in ids]
    relay.both_ways(ids)
    for circuit in circuits:
        for port in (relay.near, relay.far):
            del port.legs[circuit.inward.circuit_id]
    relay.switch.control.circuits.clear()
    del circuits
    gc.collect()
    gc.freeze()
    return relay


def _rest_all(relay: Forwarding) -> None:
    """Looks of the switch's own, two minutes long: silent in between, all rest, and as the relay's driver
    does, what is free goes back."""
    for now in range(100, 240):
        relay.switch.tick(float(now))
    give_back()
    if not all(circuit.layers.resting for circuit in relay.switch.circuits):
        raise RuntimeError("a silent circuit does not rest")


def _next_cells(relay: Forwarding) -> float:
    """CPU seconds for one cell of each circuit, a cell's share."""
    spent = 0.0
    for at in range(1, MEMORY_CIRCUITS + 1, BATCH):
        spent += _cpu_of(relay, relay.near, frame_of(range(at, at + BATCH)))
    return spent / MEMORY_CIRCUITS


def _cpu_of(relay: Forwarding, port: LinkPort, frame: bytes) -> float:
    started = time.process_time()
    relay.carry(port, frame)
    return time.process_time() - started


def main(arguments: Sequence[str] | None = None) -> None:
    measures = {"cpu": cpu_by_circuits, "active": active_then_rested, "rested": rested_one_after_another}
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.circuits")
    parser.add_argument("measure", choices=measures)
    print(json.dumps(measures[parser.parse_args(arguments).measure]()))


if __name__ == "__main__":
    main()
