"""A visitor for an hour: contacts that stay, and strangers that come once. Each whisper has its number.

    python -m tests.benchmarks.hour.visitor NETWORK FOLDER BIND ADDRESS…

It prints one line of JSON for each whisper that ended: its body, how it ended, and after how many seconds.
SIGTERM ends it once nothing is under way any more.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from pathlib import Path

import trio

import onionshh

BETWEEN_SECONDS = 1.0
"""On average, between two whispers of a contact."""
STRANGER_SECONDS = 20.0
TTL_SECONDS = 300


class Visitor:
    """One node with a named contact for each address."""

    def __init__(self, node: onionshh.Node, name: str, seed: int) -> None:
        self._node = node
        self._name = name
        self._random = random.Random(seed)
        self._number = 0
        self.leaving = trio.Event()

    async def stay(self, address: str, number: int) -> None:
        """Whispers over one contact, with pauses in which its circuit may end."""
        async with (
            self._node.contact(address, name=f"c{number}", way_back=number == 0) as contact,
            trio.open_nursery() as nursery,
        ):
            while not self.leaving.is_set():
                nursery.start_soon(self._whisper, contact)
                with trio.move_on_after(self._random.expovariate(1 / BETWEEN_SECONDS)):
                    await self.leaving.wait()
                if self._random.random() < 0.01:
                    with trio.move_on_after(60):
                        await self.leaving.wait()

    async def come_once(self, addresses: list[str]) -> None:
        """A contact of its own for each whisper, with no session."""
        while not self.leaving.is_set():
            async with self._node.contact(self._random.choice(addresses), session=False) as contact:
                await self._whisper(contact)
            with trio.move_on_after(STRANGER_SECONDS):
                await self.leaving.wait()

    async def _whisper(self, contact: onionshh.Contact) -> None:
        self._number += 1
        body = f"{self._name} {self._number}"
        started = time.monotonic()
        receipt = contact.send(body.encode(), ttl_seconds=TTL_SECONDS)
        reply = None
        try:
            reply = await receipt.reply()
        except onionshh.Error as error:
            print(json.dumps({"body": body, "error": str(error)}), flush=True)
        seconds = round(time.monotonic() - started, 3)
        told = {"body": body, "status": receipt.status, "answered": reply == body.encode()}
        print(json.dumps({**told, "seconds": seconds}), flush=True)


async def main(network: str, folder: str, bind: str, addresses: list[str]) -> None:
    """Until SIGTERM."""
    async with onionshh.join(network, data_dir=folder, bind=bind) as node, trio.open_nursery() as nursery:
        visitor = Visitor(node, Path(folder).name, sum(bind.encode()))
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            for number, address in enumerate(addresses):
                nursery.start_soon(visitor.stay, address, number)
            nursery.start_soon(visitor.come_once, addresses)
            async for _ in signals:
                visitor.leaving.set()
                break


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
