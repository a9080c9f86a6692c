"""`onionshh demo`: a whole network on this machine, and whispers through it.

Everything is real: the authority answers HTTP, relays and nodes speak TCP on loopback. There is only one
difference from a network of many machines: all of them share one process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack

import click
import trio
from rich.console import Console
from rich.markup import escape

from onionshh.cli.ending import run
from onionshh.cli.failures import FAILED
from onionshh.cli.folders import temporary_folder
from onionshh.cli.one_machine import listed, start_authority, start_relays
from onionshh.cli.text import printable
from onionshh.client.endpoint import Endpoint
from onionshh.client.node import Node, join
from onionshh.client.receipt import Receipt
from onionshh.net.network_file import read_network_file

STEP_SECONDS = 30.0
QUESTION = b"Is anybody there?"
LARGE_BYTES = 65_535
MEETING_PURPOSE, ANSWER_PURPOSE = "rendezvous", "answer"


@click.command()
@click.option("--relays", type=click.IntRange(4, 64), metavar="N", default=8, help="How many relays.")
@click.option(
    "--hops",
    type=click.IntRange(0, 3),
    metavar="0..3",
    default=3,
    help="Relays between visitor and meeting relay.",
)
def demo(relays: int, hops: int) -> int:
    """Show onionshh at work: a whole network on loopback in this one process.

    An authority, relays, a hidden endpoint, and a visitor who knows nothing of it but its address. Each
    step is shown with its time; whispers go both ways. All files lie in a temporary folder that is removed.

    \b
    Examples:
      onionshh demo
      onionshh demo --relays 12 --hops 1
    """
    return run(lambda: _Demo(relays, hops).run())


class _Demo:
    """One run of the demo."""

    def __init__(self, relays: int, hops: int) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._relays = relays
        self._hops = hops
        self._started = time.monotonic()

    async def run(self) -> int:
        """Run the whole demo. Returns the exit status."""
        status, slow = FAILED, False
        try:
            status = await self._all()
        except* trio.TooSlowError:
            slow = True
        return self._fail(f"this step took more than {STEP_SECONDS:.0f} s") if slow else status

    async def _all(self) -> int:
        async with AsyncExitStack() as stack:
            folder = stack.enter_context(temporary_folder("onionshh-demo-"))
            # Entered before the nursery, so that what it holds is closed after all tasks have ended.
            held = stack.enter_context(ExitStack())
            nursery = await stack.enter_async_context(trio.open_nursery())
            stack.callback(nursery.cancel_scope.cancel)
            file = folder / "network.toml"
            with trio.fail_after(STEP_SECONDS):
                authority = await start_authority(held, nursery, folder, file, name="demo")
            network = read_network_file(file)
            self._step(f"[b]authority[/b] of {network.name} at {network.authorities[0].url}")
            with trio.fail_after(STEP_SECONDS):
                await start_relays(held, nursery, folder, network, self._relays)
                self._step(f"{self._relays} [b]relays[/b] started; the authority makes a handshake with each")
                names = await listed(authority, self._relays)
            self._step(f"{self._relays} relays [b]listed[/b] in the signed consensus: {', '.join(names)}")
            host = await stack.enter_async_context(join(file, data_dir=folder / "endpoint"))
            endpoint = await stack.enter_async_context(host.host(folder / "endpoint" / "identity"))
            self._step(f"[b]endpoint[/b] {endpoint.address}")
            with trio.fail_after(STEP_SECONDS):
                await endpoint.reachable()
            state = endpoint.reachability
            self._step(
                f"endpoint [b]reachable[/b] through {state.introducers} introducers: a test came through"
            )
            visitor = await stack.enter_async_context(join(file, data_dir=folder / "visitor"))
            self._step("[b]visitor[/b] joined; it knows the network file and the address, nothing else")
            return await self._whisper(host, endpoint, visitor)

    async def _whisper(self, host: Node, endpoint: Endpoint, visitor: Node) -> int:
        replies: list[Receipt] = []

        async def answer() -> None:
            first = True
            async for whisper in endpoint:
                if first:
                    self._step(f"endpoint got [i]{_shown(whisper.body)}[/i], and does not know from where")
                    first = False
                body = b"Yes: " + whisper.body if whisper.body == QUESTION else whisper.body
                replies.append(await whisper.reply(body))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            async with visitor.contact(endpoint.address, hops=self._hops) as contact:
                self._step(f"visitor whispers [i]{_shown(QUESTION)}[/i] over {self._hops} hops")
                first = await self._ask(contact.send(QUESTION))
                if first is None:
                    return FAILED
                delivered, reply = first
                self._step(f"visitor got [i]{_shown(reply)}[/i]; delivered, {_took(delivered)}")
                self._show_path(visitor, host)
                large = os.urandom(LARGE_BYTES)
                self._step(f"visitor whispers {LARGE_BYTES} bytes")
                second = await self._ask(contact.send(large))
                if second is None or second[1] != large:
                    return self._fail("the large whisper did not come back whole")
                self._step(f"visitor got {len(second[1])} bytes back, whole")
                with trio.move_on_after(STEP_SECONDS):
                    for receipt in replies:
                        await receipt.final()
            nursery.cancel_scope.cancel()
        if not all(receipt.status == "delivered" for receipt in replies):
            return self._fail("a reply was not delivered")
        self._step("[b green]done: whispers delivered both ways, each with its receipt[/b green]")
        return 0

    async def _ask(self, receipt: Receipt) -> tuple[Receipt, bytes] | None:
        reply = None
        with trio.move_on_after(STEP_SECONDS):
            reply = await receipt.reply()
        if reply is None:
            self._fail(f"not delivered ({receipt.status}): {_shown(receipt.why.encode()) or 'no reply came'}")
            return None
        return receipt, reply

    def _show_path(self, visitor: Node, host: Node) -> None:
        """The joined circuits: two of ours that end at the same relay, and what each side sees of them."""
        theirs = {
            circuit.relays[-1]: circuit.path
            for circuit in host.circuits()
            if circuit.purpose == ANSWER_PURPOSE
        }
        for circuit in visitor.circuits():
            if circuit.purpose == MEETING_PURPOSE and circuit.relays[-1] in theirs:
                before, meeting, after = (
                    circuit.path[:-1],
                    circuit.path[-1],
                    theirs[circuit.relays[-1]][-2::-1],
                )
                break
        else:
            return
        path = " → ".join(["[b]visitor[/b]", *before, f"[b]{meeting}[/b]", *after, "[b]endpoint[/b]"])
        self._more(f"path: {path}")
        for line in what_they_see(before, meeting, after):
            self._more(line)

    def _step(self, line: str) -> None:
        self._console.print(f"[dim]{time.monotonic() - self._started:6.2f} s[/dim]  {line}")

    def _more(self, line: str) -> None:
        self._console.print(f"{'':10}{line}")

    def _fail(self, why: str) -> int:
        self._step(f"[b red]{why}[/b red]")
        return FAILED


def what_they_see(before: Sequence[str], meeting: str, after: Sequence[str]) -> list[str]:
    """What the relays of a joined path see, from the visitor's guard to the endpoint's, in plain words."""
    visitors, endpoints = [*before, meeting][0], [meeting, *after][-1]
    neither = ", and sees neither end" if before and after else ""
    lines = [
        f"{meeting}, which the visitor chose, is where both circuits meet{neither}",
        f"{visitors} sees the visitor's machine; {endpoints} sees the endpoint's",
    ]
    if visitors == endpoints:
        lines += [
            f"here {visitors} is the guard of both: it sees two machines use the network at the same time,",
            "and may match sizes and times; it sees neither the address nor what is said (see THREATS.md)",
        ]
    return [*lines, "on each circuit a relay knows the one before and the one after it, and peels one layer"]


def _shown(body: bytes) -> str:
    return escape(printable(body))


def _took(receipt: Receipt) -> str:
    connect, trip = receipt.connect_seconds or 0.0, receipt.round_trip_seconds or 0.0
    return f"connected in {connect * 1000:.0f} ms, receipt after {trip * 1000:.0f} ms"
