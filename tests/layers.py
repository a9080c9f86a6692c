"""The layer table, in this one place, and what it forbids (ARCHITECTURE.md, "Five layers").

Imports go downward or sideways, never up. Layers 0 to 2 are pure, so that the same code runs in production,
in virtual time and by the thousand in simulations: what they may import is listed, anything else is not
pure until someone argues here that it is. `problems()` reads one file's text and returns sentences.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

WIRE, CRYPTO, CORE, NET, APPS, COMPOSERS = range(6)

# Dotted name of a folder (with all in it) or a file. A package's own name stands for its __init__.py.
LAYERS = {
    "onionshh.wire": WIRE,
    "onionshh.geometry": WIRE,
    "onionshh.ids": WIRE,
    "onionshh.errors": WIRE,
    "onionshh.reasons": WIRE,
    "onionshh.config": WIRE,
    "onionshh.advice": WIRE,
    "onionshh.crypto": CRYPTO,
    "onionshh.core": CORE,
    "onionshh.net": NET,
    "onionshh.client": APPS,
    "onionshh.cli": APPS,
    "onionshh.testing": APPS,
    "onionshh.__main__": APPS,
    "onionshh": APPS,
    "onionshh.relay.allowance": CORE,
    "onionshh.relay.forward": CORE,
    "onionshh.relay.limits": CORE,
    "onionshh.relay.mounted": CORE,
    "onionshh.relay.state": CORE,
    "onionshh.relay.control": CORE,
    "onionshh.relay.costly": CORE,
    "onionshh.relay.create": CORE,
    "onionshh.relay.draining": CORE,
    "onionshh.relay.extend": CORE,
    "onionshh.relay.remembering": CORE,
    "onionshh.relay.resting": CORE,
    "onionshh.relay.mirror": CORE,
    "onionshh.relay.accounting": APPS,
    "onionshh.relay.driver": APPS,
    "onionshh.relay.keys": APPS,
    "onionshh.relay.leaving": APPS,
    "onionshh.relay.master": APPS,
    "onionshh.relay.publish": APPS,
    "onionshh.relay.renewal": APPS,
    "onionshh.relay.signing_file": APPS,
    "onionshh.relay.serve": APPS,
    "onionshh.relay": APPS,
    "onionshh.rendezvous.introducer": CORE,
    "onionshh.rendezvous.mailbox_deposits": CORE,
    "onionshh.rendezvous.mailbox_index": CORE,
    "onionshh.rendezvous.mailbox_lists": CORE,
    "onionshh.rendezvous.mailbox_rows": CORE,
    "onionshh.rendezvous.mailboxes": CORE,
    "onionshh.rendezvous.meeting": CORE,
    "onionshh.rendezvous.place": CORE,
    "onionshh.rendezvous.ring": CORE,
    "onionshh.rendezvous.shares": CORE,
    "onionshh.rendezvous.toll_gate": CORE,
    "onionshh.rendezvous.shelf": CORE,
    "onionshh.rendezvous.spent": CORE,
    "onionshh.rendezvous.mailbox_store": APPS,
    "onionshh.rendezvous.ring_store": APPS,
    "onionshh.rendezvous.serve": APPS,
    "onionshh.rendezvous": APPS,
    "onionshh.directory.asking": CORE,
    "onionshh.directory.places": CORE,
    "onionshh.directory.registry": CORE,
    "onionshh.directory.entry": CORE,
    "onionshh.directory.rules": CORE,
    "onionshh.directory.history": CORE,
    "onionshh.directory.changes": CORE,
    "onionshh.directory.refusals": CORE,
    "onionshh.directory.page": CORE,
    "onionshh.directory.page_style": CORE,
    "onionshh.directory.day": CORE,
    "onionshh.directory.figures": CORE,
    "onionshh.directory.picture": CORE,
    "onionshh.directory.certificates": CORE,
    "onionshh.directory.consensus": CORE,
    "onionshh.directory.signing": CORE,
    "onionshh.directory.state_1": CORE,
    "onionshh.directory.state_2": CORE,
    "onionshh.directory.witnesses": CORE,
    "onionshh.directory.store": APPS,
    "onionshh.directory.app": APPS,
    "onionshh.directory.own_clock": APPS,
    "onionshh.directory.checks": APPS,
    "onionshh.directory.issuer": APPS,
    "onionshh.directory.authority": APPS,
    "onionshh.directory.serve": APPS,
    "onionshh.directory": APPS,
    "simulations": COMPOSERS,
    "tests": COMPOSERS,
}
SHIPPED = ("onionshh", "relay", "rendezvous", "directory")
WHOLE_FOLDERS = ("simulations", "tests")  # every file there is the folder's row, whatever its name

# The three programs lie at the top of the checkout and are imported as `onionshh.relay` and so on, through
# links in `onionshh/`: installed, they take no name of anybody else's. They do not know one another, and
# the library does not know them: only composers put them together.
AT_THE_TOP = ("relay", "rendezvous", "directory")
PROGRAMS = tuple(f"onionshh.{name}" for name in AT_THE_TOP)
COMPOSING = ("onionshh.cli", "onionshh.testing", "simulations", "tests")

# Who may import these at all; nobody else.
ONLY_IN = {
    "cryptography": ("onionshh.crypto", "tests"),
    "nacl": ("onionshh.crypto", "tests"),
    "zfec": ("onionshh.crypto", "tests"),
    "prometheus_client": ("onionshh.cli.metrics.exposition", "tests"),
    "msgpack": ("onionshh.wire.packing", "tests"),
    "stem": ("onionshh.net.tor", "tests.benchmarks"),
    "socksio": ("onionshh.net.socks", "tests"),
    "click": ("onionshh.cli", "tests"),
    "rich": ("onionshh.cli", "tests"),
    "onionshh.cli": ("onionshh.cli", "onionshh.__main__", "tests"),
    "onionshh.crypto._uiv": ("onionshh.crypto.uiv", "tests"),
}
BESIDES = {"onionshh.crypto.uiv": frozenset({"os"})}
"""What a pure file may import besides. The cipher is chosen where it is loaded, by the environment."""

# fmt: off
PURE_LIBRARY = frozenset((
    "__future__", "abc", "array", "base64", "binascii", "bisect", "collections", "contextlib", "copy",
    "dataclasses", "datetime", "enum", "errno", "functools", "hashlib", "heapq", "hmac", "html", "ipaddress",
    "itertools", "json", "math", "operator", "re", "statistics", "string", "struct", "textwrap",
    "threading.local", "tomllib", "types", "typing", "unicodedata", "urllib.parse", "weakref", "zlib",
))
# fmt: on
NOT_EVEN_IN_PURE = frozenset({"nacl.utils"})  # draws random bytes of its own
IMPURE_CALLS = frozenset(["open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint"])
CLOCK_METHODS = frozenset(["now", "utcnow", "today"])


def problems(path: str, source: str) -> list[str]:
    """What is wrong with the file at `path` (relative to the root, with slashes), a sentence each."""
    module = _module(path)
    tree = ast.parse(source, filename=path)
    layer = _own_row(module)
    if layer is None:
        return [f"{path} has no row in the layer table (tests/layers.py): give it one"]
    found = []
    if _inside(module, SHIPPED) or _inside(module, ("simulations",)):
        found += _docstring(path, source, tree)
    if _inside(module, SHIPPED):
        found += _asserts(path, tree)
    if layer <= CORE:
        found += _impure(path, tree)
    package = path.endswith("__init__.py")
    for line, target in _imports(tree, module, package):
        reason = _why_not(module, layer, target)
        if reason:
            found.append(f"{path}:{line} imports {target}: {reason}")
    return found


def _why_not(module: str, layer: int, target: str) -> str:
    for name, allowed in ONLY_IN.items():
        if _inside(target, (name,)) and not _inside(module, allowed):
            return f"{name} is only for {', '.join(allowed)}"
    top = target.partition(".")[0]
    if top in AT_THE_TOP:
        return f"it is onionshh.{top}, the one name that holds in a checkout and installed"
    for program in PROGRAMS:
        if _inside(target, (program,)) and not _inside(module, (program, *COMPOSING)):
            if _inside(module, PROGRAMS):
                return f"{', '.join(PROGRAMS)} never import one another"
            return f"the library never imports {program}; only {', '.join(COMPOSING)} may"
    if top in SHIPPED or top in WHOLE_FOLDERS:
        theirs = _row(target)
        if theirs is not None and theirs > layer:
            return f"layer {layer} never imports layer {theirs}"
        return ""
    if layer <= CORE and not _pure(target) and target not in BESIDES.get(module, ()):
        return "layers 0 to 2 are pure: no trio, network, disk, clock, chance or log"
    return ""


def _pure(target: str) -> bool:
    if _inside(target, tuple(NOT_EVEN_IN_PURE)):
        return False
    return _inside(target, tuple(PURE_LIBRARY)) or any(_inside(target, (name,)) for name in ONLY_IN)


def _imports(tree: ast.AST, module: str, package: bool) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything imported, `from a import b` as a.b, relative names resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = node.level - 1 if package else node.level
                parents = module.split(".")
                base = ".".join([*parents[: len(parents) - up], *([base] if base else [])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def _docstring(path: str, source: str, tree: ast.Module) -> list[str]:
    if source.strip() and not ast.get_docstring(tree):
        return [f"{path} opens with no docstring: a file begins by saying what it is"]
    return []


def _asserts(path: str, tree: ast.AST) -> list[str]:
    return [
        f"{path}:{node.lineno} asserts: `python -O` takes it away, so it guards nothing; raise an error"
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
    ]


def _impure(path: str, tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            found.append(f"{path}:{node.lineno} is asynchronous: layers 0 to 2 never wait")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            found.append(f"{path}:{node.lineno} calls {node.func.id}(): layers 0 to 2 touch nothing outside")
        elif isinstance(node, ast.Attribute) and node.attr in CLOCK_METHODS and _names_date(node.value):
            found.append(f"{path}:{node.lineno} asks for the time: it comes in as `now` or `wall`")
    return found


def _names_date(node: ast.AST) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name in ("datetime", "date")


def _module(path: str) -> str:
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return f"onionshh.{module}" if _inside(module, AT_THE_TOP) else module


def _own_row(module: str) -> int | None:
    """The row of a file: a package's row is not that of the files in it, unless it names a folder."""
    parts = module.split(".")
    if len(parts) > 1 and parts[0] not in WHOLE_FOLDERS:
        return next((LAYERS[name] for name in _upward(module) if _is_folder_or(module, name)), None)
    return LAYERS.get(parts[0])


def _is_folder_or(module: str, name: str) -> bool:
    """Whether a row of this name is a folder's, with all in it, or the file's own."""
    return name in LAYERS and (name == module or ("." in name and name not in PROGRAMS))


def _row(target: str) -> int | None:
    """The row of what is imported: the nearest name above it that has one."""
    return next((LAYERS[name] for name in _upward(target) if name in LAYERS), None)


def _upward(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(".")[0]


def _inside(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(place + ".") for place in places)
