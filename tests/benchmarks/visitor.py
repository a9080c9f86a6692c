"""The visitor that is measured: a program of the Python API, told what to do by lines of JSON."""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import trio

import onionshh
from onionshh.core.circuit.purpose import PathKind, Purpose

BULK_AT_ONCE = 24
"""Whispers of 65 535 bytes that a program has under way at a time."""
BULK_BESIDE_AT_ONCE = 4
"""The same beside quiet contacts: enough that its circuit is never idle."""
CROWD_TTL_SECONDS = 30.0
"""When a whisper of a crowd counts as lost."""
AGAIN_EACH = 6
"""How often one contact goes on."""
AGAIN_PAUSE_SECONDS = 1.0
"""Between two, so that the circuits that every contact keeps ready are ready again."""
WAY_BACK_SECONDS = 30.0
HOPS = 3
"""Relays between the visitor and the rendezvous point; the endpoint has three always."""

Told = dict[str, Any]


class Visitor:
    """One node; every `do` of a line is a method."""

    def __init__(self, node: onionshh.Node, network: str, folder: str) -> None:
        self._node = node
        self._network = network
        self._folder = folder
        self._address = ""
        self._many = AsyncExitStack()
        self._contacts: list[onionshh.Contact] = []

    async def address(self, told: Told) -> Told:
        """Whom to visit."""
        self._address = told["address"]
        return {}

    async def connect(self, told: Told) -> Told:
        """Seconds from a fresh contact to the first reply, `times` times, all else warm."""
        return {"seconds": [await self._connect() for _ in range(told["times"])]}

    async def cold_connect(self, told: Told) -> Told:
        """The same from a node that has nothing but a consensus and guards on disk."""
        seconds = []
        for _ in range(told["times"]):
            started = time.perf_counter()
            async with onionshh.join(self._network, data_dir=self._folder) as node:
                async with node.contact(self._address, hops=HOPS) as contact:
                    await contact.ask(b"ex")
                    seconds.append(time.perf_counter() - started)
        return {"seconds": seconds}

    async def round_trip(self, told: Told) -> Told:
        """Seconds for 256 bytes to the endpoint's program and back, over one established circuit."""
        seconds = []
        async with self._node.contact(self._address, hops=HOPS) as contact:
            await contact.ask(b"ex")
            await trio.sleep(told.get("settle", 0.0))
            for _ in range(told["times"]):
                started = time.perf_counter()
                await contact.ask(b"e" + bytes(255))
                seconds.append(time.perf_counter() - started)
        return {"seconds": seconds}

    async def again(self, told: Told) -> Told:
        """Seconds from a whisper of 256 bytes to its reply when the contact holds no circuit: `session` says
        whether a session goes on, or the contact introduces itself anew. `times` times, over several
        contacts, since one session may ask for eight circuits at once and no more."""
        seconds, resumed = [], 0
        for number in range(told["times"]):
            if number % AGAIN_EACH == 0:
                await self._many.aclose()
                self._many = AsyncExitStack()
                contact = self._node.contact(self._address, hops=HOPS, session=told["session"])
                await self._many.enter_async_context(contact)
                await contact.ask(b"ex")
            _idle(contact)
            await trio.sleep(AGAIN_PAUSE_SECONDS)
            started = time.perf_counter()
            receipt = contact.send(b"e" + bytes(255))
            await receipt.reply()
            seconds.append(time.perf_counter() - started)
            resumed += receipt.resumed
        await self._many.aclose()
        self._many = AsyncExitStack()
        return {"seconds": seconds, "resumed": resumed}

    async def alone(self, told: Told) -> Told:
        """Seconds from a whisper of 256 bytes in one cell to its receipt, which comes by a way back."""
        seconds, alone = [], 0
        async with self._node.contact(self._address, hops=HOPS, way_back=True) as contact:
            await contact.ask(b"ex")
            with trio.move_on_after(WAY_BACK_SECONDS):
                while contact.session is None or not contact.session.way_back:
                    await trio.sleep(0.1)
            for _ in range(told["times"]):
                _idle(contact)
                await trio.sleep(AGAIN_PAUSE_SECONDS)
                started = time.perf_counter()
                receipt = await contact.whisper(b"s" + bytes(255))
                seconds.append(time.perf_counter() - started)
                alone += receipt.status == "delivered" and receipt.resumed
        return {"seconds": seconds, "alone": alone}

    async def transfer(self, told: Told) -> Told:
        """Seconds until so many bytes have arrived as a transfer."""
        async with self._node.contact(self._address) as contact:
            await contact.ask(b"ex")
            started = time.perf_counter()
            transfer = contact.transfer(bytes(told["bytes"]))
            await transfer.final()
            return {"seconds": time.perf_counter() - started, "status": transfer.status}

    async def bulk(self, told: Told) -> Told:
        """Seconds until so many bytes are delivered and acknowledged over one circuit."""
        async with self._node.contact(self._address, hops=HOPS) as contact:
            await contact.ask(b"ex")
            started = time.perf_counter()
            limit, statuses = trio.CapacityLimiter(BULK_AT_ONCE), Counter[str]()

            async def one() -> None:
                async with limit:
                    statuses[(await contact.whisper(b"s" + bytes(65534))).status] += 1

            async with trio.open_nursery() as nursery:
                for _ in range(told["bytes"] // 65535):
                    nursery.start_soon(one)
            seconds = time.perf_counter() - started
        return {"seconds": seconds, "delivered": statuses["delivered"]}

    async def open_many(self, told: Told) -> Told:
        """As many contacts, each with a circuit of its own, kept for `quiet` and `close_many`."""
        self._many = AsyncExitStack()
        self._contacts = []
        for _ in range(told["contacts"]):
            contact = await self._many.enter_async_context(self._node.contact(self._address, hops=HOPS))
            await contact.ask(b"ex")
            self._contacts.append(contact)
        return {}

    async def quiet(self, told: Told) -> Told:
        """Whispers of 256 bytes at random moments, `rate` a second over all contacts."""
        receipts = []
        end = trio.current_time() + told["seconds"]
        due = trio.current_time()
        while due < end:
            await trio.sleep_until(due)
            receipts.append(random.choice(self._contacts).send(b"s" + bytes(255)))
            due += random.expovariate(told["rate"])
        for receipt in receipts:
            await receipt.final()
        trips = [one.round_trip_seconds for one in receipts if one.round_trip_seconds is not None]
        return {"sent": len(receipts), "delivered": len(trips), "seconds": trips}

    async def quiet_beside_bulk(self, told: Told) -> Told:
        """The same as `quiet`, while one more contact sends whispers of 65 535 bytes, a few at a time."""
        carried = 0
        background = told["background"]
        async with self._node.contact(self._address, hops=HOPS, background=background) as contact:
            await contact.ask(b"ex")

            async def keep_sending() -> None:
                nonlocal carried
                while True:
                    receipt = await contact.whisper(b"s" + bytes(65534))
                    carried += 65535 * (receipt.status == "delivered")

            async with trio.open_nursery() as nursery:
                for _ in range(BULK_BESIDE_AT_ONCE):
                    nursery.start_soon(keep_sending)
                result = await self.quiet(told)
                nursery.cancel_scope.cancel()
        return {**result, "bulk_bytes": carried}

    async def open_up_to(self, told: Told) -> Told:
        """More contacts, some at a time, until there are so many or `seconds` are over; how many there are
        then, and why not more."""
        limit, why = trio.CapacityLimiter(told["at_once"]), ""

        async def one() -> None:
            nonlocal why
            async with limit:
                contact = await self._many.enter_async_context(self._node.contact(self._address, hops=HOPS))
                try:
                    await contact.ask(b"ex")
                except BaseException as error:
                    contact.close()
                    if not isinstance(error, onionshh.NotDelivered):
                        raise
                    why = str(error)
                else:
                    self._contacts.append(contact)

        with trio.move_on_after(told["seconds"]) as scope:
            async with trio.open_nursery() as nursery:
                for _ in range(told["contacts"] - len(self._contacts)):
                    nursery.start_soon(one)
        if scope.cancelled_caught:
            why = why or "the time for connecting was over"
        return {"open": len(self._contacts), "why": why}

    async def crowd(self, told: Told) -> Told:
        """Every contact whispers 256 bytes, awaits the receipt and begins again, until the time is over;
        `in_time`: how many receipts came before that."""
        trips: list[float] = []
        sent = in_time = 0
        end = trio.current_time() + told["seconds"]

        async def one(contact: onionshh.Contact) -> None:
            nonlocal sent, in_time
            while (began := trio.current_time()) < end:
                sent += 1
                receipt = await contact.whisper(b"s" + bytes(255), ttl_seconds=CROWD_TTL_SECONDS)
                if receipt.status == "delivered":
                    trips.append(trio.current_time() - began)
                    in_time += trio.current_time() < end

        async with trio.open_nursery() as nursery:
            for contact in self._contacts:
                nursery.start_soon(one, contact)
        return {"sent": sent, "delivered": len(trips), "seconds": trips, "in_time": in_time}

    async def close_many(self, told: Told) -> Told:
        """Give the contacts up."""
        await self._many.aclose()
        self._many, self._contacts = AsyncExitStack(), []
        return {}

    async def build(self, told: Told) -> Told:
        """Seconds for each of so many circuits of three relays, one after another."""
        builder = self._node._context.builder
        seconds = []
        for _ in range(told["times"]):
            started = time.perf_counter()
            circuit = await builder.build(Purpose.TEST, PathKind(3, 1))
            seconds.append(time.perf_counter() - started)
            circuit.close()
        return {"seconds": seconds}

    async def build_many(self, told: Told) -> Told:
        """Seconds for so many circuits of three relays, all at once."""
        builder = self._node._context.builder
        circuits = []

        async def one() -> None:
            circuits.append(await builder.build(Purpose.TEST, PathKind(3, 1)))

        started = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(told["times"]):
                nursery.start_soon(one)
        seconds = time.perf_counter() - started
        for circuit in circuits:
            circuit.close()
        return {"seconds": seconds, "built": len(circuits)}

    async def _connect(self) -> float:
        started = time.perf_counter()
        async with self._node.contact(self._address, hops=HOPS) as contact:
            await contact.ask(b"ex")
            return time.perf_counter() - started


def _idle(contact: onionshh.Contact) -> None:
    """End the contact's circuit at once, as it would end by itself after a while."""
    correspondence = contact._correspondence
    if correspondence is not None:
        correspondence.sending.renew()


async def main(network: str, folder: str) -> None:
    """Do what each line says until standard input ends."""
    async with onionshh.join(network, data_dir=folder) as node:
        visitor = Visitor(node, network, folder)
        gc.collect()
        gc.freeze()
        lines = trio.wrap_file(sys.stdin)
        while line := await lines.readline():
            told = json.loads(line)
            do: Callable[[Told], Awaitable[Told]] = getattr(visitor, told["do"])
            print(json.dumps(await do(told)), flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
