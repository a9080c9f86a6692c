"""Runs the Python that documents show, and looks whether it prints what they say it prints.

A block is a whole program. Where it defines `async def main`, what `main` takes is given to it by name:
`node` and `visitor` are two nodes, `address` that of an endpoint that answers in capital letters. Where it
defines tests, they are run as pytest would. The network is in memory and time is virtual, for `onionshh.join`
too: it reads its network file as ever, and below the links it gets what `onionshh.testing` takes.

Each `print(...)` stands on one line with a comment, which is what it prints; `…` there is any text. Each must
print at least once.
"""

from __future__ import annotations

import ast
import re
import sys
import tokenize
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh import testing
from onionshh.client import node as nodes
from onionshh.client.assemble import assembled
from onionshh.client.node import Node
from onionshh.config import NetworkFile, format_network_file
from onionshh.net.store import Folder, run_inline
from tests.client.world import PATIENCE_SECONDS, small

NETWORK_FILE = "network.toml"
RELAYS = 8
EXAMPLE_SECONDS = 3600.0
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass
class Example:
    """One block of a document: below which heading and where it begins, what it says."""

    document: str
    heading: str
    line: int
    source: str
    printed: set[int] = field(default_factory=set)
    said: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.document}: {self.heading}"

    @property
    def tree(self) -> ast.Module:
        """Parsed, with the lines that its document has."""
        return ast.parse("\n" * self.line + self.source, filename=self.document)

    def load(self) -> dict[str, Any]:
        """Run what stands at its top, but for `trio.run(...)`: the names it defines."""
        tree = self.tree
        tree.body = [one for one in tree.body if not ast.unparse(one).startswith("trio.run(")]
        names: dict[str, Any] = {"__name__": "example", "print": self._printer()}
        exec(compile(tree, self.document, "exec"), names)
        return names

    def finish(self) -> None:
        """All that is to be printed was."""
        missing = sorted(self._expected().keys() - self.printed)
        assert not missing, f"{self.document}, lines {missing}: this was not printed"

    def _printer(self) -> Callable[..., None]:
        expected = self._expected()

        def printer(*values: object) -> None:
            line = sys._getframe(1).f_lineno
            said = " ".join(map(str, values))
            pattern = ".*".join(map(re.escape, expected[line].split("…")))
            assert re.fullmatch(pattern, said, re.DOTALL), f"{self.document}:{line} printed {said}"
            self.printed.add(line)
            self.said.append(said)

        return printer

    def _expected(self) -> dict[int, str]:
        """What each line with a print in it should print."""
        comments = {
            token.start[0] + self.line: token.string.removeprefix("#").strip()
            for token in tokenize.generate_tokens(StringIO(self.source).readline)
            if token.type == tokenize.COMMENT
        }
        lines = [
            one.lineno
            for one in ast.walk(self.tree)
            if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id == "print"
        ]
        assert set(lines) <= comments.keys(), f"{self}: a print without what it prints beside it"
        return {line: comments[line] for line in lines}


def examples(document: Path) -> list[Example]:
    """The blocks of a document, in order."""
    text = document.read_text(encoding="utf-8")
    return [
        Example(
            document.name,
            _HEADING.findall(text, 0, found.start())[-1],
            text.count("\n", 0, found.start(1)),
            found[1],
        )
        for found in _BLOCK.finditer(text)
    ]


def run_example(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run it in the folder where we are. Fails where it does something else than it says."""
    names = example.load()
    main = names.get("main")
    clock = MockClock(autojump_threshold=0)
    tests = [function for name, function in names.items() if name.startswith("test_")]
    for function in tests:
        given = {name: clock for name in function.__annotations__ if name == "autojump_clock"}
        run_in_virtual_time(partial(function, **given), clock)
    if main is not None and not example.printed:  # else it ran already, by itself
        wanted = main.__code__.co_varnames[: main.__code__.co_argcount]

        async def in_a_network() -> None:
            async with world(monkeypatch) as net:
                async with AsyncExitStack() as stack:
                    await main(*[await _given(name, net, stack) for name in wanted])

        run_in_virtual_time(in_a_network, clock)
    assert tests or main is not None, f"{example}: nothing in it can be run"
    example.finish()


def run_in_virtual_time(function: Callable[[], Awaitable[None]], clock: MockClock | None = None) -> None:
    """`trio.run`, bounded, with no wait for anything."""

    async def bounded() -> None:
        with trio.fail_after(EXAMPLE_SECONDS):
            await function()

    trio.run(bounded, clock=clock or MockClock(autojump_threshold=0))


@asynccontextmanager
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[testing.Network]:
    """A network that `onionshh.join` finds: by its file in the folder where we are, or by itself."""
    async with small(RELAYS, interval_seconds=300) as net:
        Path(NETWORK_FILE).write_text(format_network_file(net.file))
        monkeypatch.setenv("ONIONSHH_NETWORK", NETWORK_FILE)
        with monkeypatch.context() as patched:
            patched.setattr(nodes, "assembled", _over_memory(net))
            yield net


def _over_memory(net: testing.Network) -> Callable[..., object]:
    """How a node is put together, with this network below the links in place of HTTP and TCP."""
    count = 0

    def joined(network: NetworkFile, *, folder: Folder, **given: Any) -> object:
        nonlocal count
        count += 1
        name = f"program{count}"
        below = {
            "source": net.source(name),
            "dialer": net.dialer(name),
            "clock": net.clock,
            "random_bytes": testing.seeded(count),
            "run_blocking": run_inline,
        }
        return assembled(network, folder=folder, **(given | below))

    return joined


async def _given(name: str, net: testing.Network, stack: AsyncExitStack) -> Node | str:
    """What an example takes under this name."""
    if name in ("node", "visitor"):
        return await stack.enter_async_context(net.join(name))
    if name == "address":
        host = await stack.enter_async_context(net.join("host"))
        endpoint = await stack.enter_async_context(host.host(net.folder / "loud", introducers=2))
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        nursery.start_soon(endpoint.serve, _capitals)
        with trio.fail_after(PATIENCE_SECONDS):
            await endpoint.reachable()
        return endpoint.address
    raise AssertionError(f"an example takes {name!r}, and there is no such thing to give")


async def _capitals(whisper: onionshh.Whisper) -> bytes:
    return whisper.body.upper()
