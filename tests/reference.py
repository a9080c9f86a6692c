"""API.md: the public names, described by their own docstrings. `make reference` writes it.

What stands here is only the order: which names belong together, and a sentence or two for each group. All
else is read from the program: signatures, defaults, docstrings, and the docstring below a field. Docstrings
are written in Markdown. A block marked `python` in one is an example and runs as a test
(tests/test_reference.py); signatures are marked `py`.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from types import FunctionType

import onionshh
from onionshh import testing

FILE = Path(__file__).parent.parent / "API.md"
SIGNATURE_MOST = 96

# What a program passes or gets, where the source has a narrower or a private name for it.
TYPES = {
    "IdentityKeys": "Identity",
    "RandomBytes": "Callable[[int], bytes]",
    "ReachabilityChanges": "AsyncIterator[Reachability]",
    "Source": "bytes | AsyncIterable[bytes]",
    "Status": "str",
    "TransferIteration": "AsyncIterator[IncomingTransfer]",
    "TransferStatus": "str",
}


@dataclass(frozen=True, slots=True)
class Group:
    """Names that one kind of reader needs together."""

    title: str
    text: str
    names: tuple[str, ...]


GROUPS = (
    Group(
        "Joining a network",
        "A program joins a network and gets a node. It does everything else through the node.",
        ("join", "Node"),
    ),
    Group(
        "Contacting a peer",
        "For whoever knows an address and wants to send whispers to it.",
        ("Contact", "Receipt", "Transfer", "TransferProgress"),
    ),
    Group(
        "Boards and meetings",
        "For many who share a topic, and for two who share a secret. Nobody needs an address.",
        ("Board", "Posting", "Post", "Meeting"),
    ),
    Group(
        "Hosting an endpoint",
        "For whoever wants to be reached by whispers and to answer them.",
        ("Endpoint", "Whisper", "IncomingTransfer", "Peer", "Reachability"),
    ),
    Group(
        "Identities",
        "An endpoint's identity is one small file. Back it up: without it the address is lost.",
        ("Identity",),
    ),
    Group(
        "Numbers of a moment",
        "Records that cannot be changed, for logs and for looking into a program that runs.",
        ("NodeStatus", "EndpointStatus", "SessionInfo", "CircuitInfo"),
    ),
    Group(
        "Errors",
        "Each name below is that of an exception. `except onionshh.Error` catches all of them.",
        (
            "Error",
            "BadAddress",
            "TooLarge",
            "Full",
            "NotDelivered",
            "NotStored",
            "Away",
            "Closed",
            "WrongLoop",
            "BadNetworkFile",
            "NoDirectory",
            "ClockWrong",
            "NetworkUnreachable",
            "BadData",
            "DataInUse",
        ),
    ),
    Group(
        "Testing",
        "The module `onionshh.testing` runs a whole network in one process, for tests of your own: the real"
        " directory, real relays and real nodes. Only what is below a link is replaced, by default by streams"
        " in memory.",
        ("testing.network", "testing.Network", "testing.RunningRelay", "testing.seeded"),
    ),
)

INTRODUCTION = f"""\
# The Python API

This is version {onionshh.__version__} of `onionshh`, for programs that run under trio. It is made from the
docstrings by `make reference`: change it there.

Every example runs as a test. Where an example takes `node` or `visitor`, that is a node that has joined a
network. `address` is the address of an endpoint that answers every whisper in capital letters. What `print`
shows stands beside it, with `…` for what differs from run to run. `await` and `async with` need a function
that trio runs: `trio.run(main)`.

Times are in seconds. Sizes are in bytes. All bodies are `bytes`.
"""


def page() -> str:
    """All of API.md."""
    entries = [(group, [_Entry(name) for name in group.names]) for group in GROUPS]
    return "\n".join([INTRODUCTION, *_contents(entries), *_body(entries)]).rstrip() + "\n"


def find(name: str) -> object:
    """What a name of GROUPS stands for."""
    module, _, rest = name.rpartition(".")
    return getattr(testing if module else onionshh, rest)


def members(thing: type) -> dict[str, object]:
    """The public methods and properties that a class defines itself, as written there, `close` at the end."""
    found = {
        name: member
        for name, member in vars(thing).items()
        if not name.startswith("_") and isinstance(member, FunctionType | property | classmethod)
    }
    return dict(sorted(found.items(), key=lambda item: item[0] == "close"))


def fields(thing: type) -> dict[str, tuple[str, str]]:
    """The fields of a record: each with its type and the docstring below it, which may be empty."""
    if not is_dataclass(thing):
        return {}
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(thing))).body
    found: dict[str, tuple[str, str]] = {}
    last = ""
    for node in body.body if isinstance(body, ast.ClassDef) else ():
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            last = node.target.id
            found[last] = (_type(ast.unparse(node.annotation)), "")
        elif last and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found[last] = (found[last][0], inspect.cleandoc(str(node.value.value)))
        else:
            last = ""
    return found


def docstring(thing: object) -> str:
    """Its own, without indentation; empty if there is none."""
    if isinstance(thing, classmethod):
        thing = thing.__func__
    return inspect.cleandoc(thing.__doc__ or "")


class _Entry:
    """One public name: a function, or a class with its members."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.thing = find(name)
        self.headings = [name]
        self.methods: dict[str, Callable[..., object]] = {}
        self.properties: dict[str, property] = {}
        if isinstance(self.thing, type):
            for key, member in members(self.thing).items():
                if isinstance(member, property):
                    self.properties[key] = member
                else:
                    self.methods[f"{self._owner(member)}.{key}"] = _plain(member)
        self.headings += self.methods

    def _owner(self, member: object) -> str:
        """What stands before the dot: the class, or the usual name of a variable that holds one."""
        bare = self.name.rpartition(".")[2]
        if isinstance(member, classmethod):
            return bare
        return _variable(bare)

    def lines(self) -> Iterator[str]:
        yield f"### {self.name}\n"
        if not isinstance(self.thing, type) and callable(self.thing):
            yield _signature(f"onionshh.{self.name}", self.thing)
        if isinstance(self.thing, type) and issubclass(self.thing, Exception):
            bases = [f"`{base.__name__}`" for base in self.thing.__bases__]
            yield f"Derives from {' and '.join(bases)}.\n"
        yield docstring(self.thing) + "\n"
        if isinstance(self.thing, type):
            rows = [_row(key, *field) for key, field in fields(self.thing).items()]
            rows += [
                _row(key, _returns(member.fget), docstring(member))
                for key, member in self.properties.items()
                if member.fget is not None
            ]
            if rows:
                yield "\n".join(rows) + "\n"
        for title, method in self.methods.items():
            yield f"#### {title}\n"
            yield _signature(title, method)
            yield docstring(method) + "\n"


def _contents(entries: list[tuple[Group, list[_Entry]]]) -> Iterator[str]:
    anchors = _anchors([title for group, found in entries for title in _titles(group, found)])
    for group, found in entries:
        top = f"- [{group.title}](#{next(anchors)})"
        names = [f"[{entry.name}](#{next(anchors)}){_linked(entry.methods, anchors)}" for entry in found]
        if any(entry.methods for entry in found):
            yield "\n  - ".join([top, *names])
        else:
            yield f"{top}: {', '.join(names)}"
    yield ""


def _linked(titles: Iterable[str], anchors: Iterator[str]) -> str:
    links = [f"[{title.rpartition('.')[2]}](#{next(anchors)})" for title in titles]
    return f": {', '.join(links)}" if links else ""


def _titles(group: Group, entries: list[_Entry]) -> Iterator[str]:
    yield group.title
    for entry in entries:
        yield from entry.headings


def _anchors(titles: list[str]) -> Iterator[str]:
    """As GitHub and others make them of headings: a second one of the same letters gets a number."""
    seen: dict[str, int] = {}
    for title in titles:
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        count = seen[slug] = seen.get(slug, -1) + 1
        yield f"{slug}-{count}" if count else slug


def _body(entries: list[tuple[Group, list[_Entry]]]) -> Iterator[str]:
    for group, found in entries:
        yield f"## {group.title}\n\n{group.text}\n"
        for entry in found:
            yield from entry.lines()


def _row(name: str, kind: str, text: str) -> str:
    return f"- `{name}: {kind}`" + (f". {' '.join(text.split())}" if text else "")


def _plain(member: object) -> Callable[..., object]:
    function = member.__func__ if isinstance(member, classmethod) else member
    if not callable(function):
        raise TypeError(f"{member!r} is no method")
    return function


def _type(text: str) -> str:
    return re.sub(r"\w+", lambda found: TYPES.get(found[0], found[0]), text).replace("'", '"')


def _variable(kind: str) -> str:
    """The usual name of a variable that holds one of these."""
    return {"Network": "net", "RunningRelay": "relay"}.get(kind, kind.lower())


def _returns(function: Callable[..., object]) -> str:
    return _type(str(inspect.signature(function).return_annotation))


def _signature(title: str, function: Callable[..., object]) -> str:
    """How it is called, in a block: on one line if there is room."""
    inner = inspect.unwrap(function)
    signature = inspect.signature(inner)
    parameters = [one for one in signature.parameters.values() if one.name not in ("self", "cls")]
    texts: list[str] = []
    for before, one in zip([None, *parameters], parameters, strict=False):
        if one.kind is one.KEYWORD_ONLY and (before is None or before.kind is not one.KEYWORD_ONLY):
            texts.append("*")
        texts.append(_parameter(one))
    returned = _returns(inner).replace("Self", title.rpartition(".")[0])
    opening, after = "", f" -> {returned}"
    if inspect.isasyncgenfunction(inner):  # made a context manager by contextlib
        opening, after = "async with ", f" as {_variable(returned.partition('[')[2].removesuffix(']'))}"
    elif inspect.iscoroutinefunction(inner):
        opening = "await "
    line = f"{opening}{title}({', '.join(texts)}){after}"
    if len(line) > SIGNATURE_MOST:
        line = "\n".join([f"{opening}{title}(", *(f"    {text}," for text in texts), f"){after}"])
    return f"```py\n{line}\n```\n"


def _parameter(one: inspect.Parameter) -> str:
    text = f"{one.name}: {_type(str(one.annotation))}"
    if one.default is one.empty:
        return text
    if isinstance(one.default, str):
        return f"{text} = {json.dumps(one.default)}"
    return f"{text} = {f'os.{one.default.__name__}' if inspect.isroutine(one.default) else one.default}"


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
