"""The source keeps to the layer table of tests/layers.py, and the table's guard is no sleeping dog."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.layers import LAYERS, PROGRAMS, SHIPPED, WHOLE_FOLDERS, problems

ROOT = Path(__file__).parent.parent
TEXT = '"""A file that says what it is."""\n\nfrom __future__ import annotations\n\n'


PURE_PLACES = (
    "onionshh/wire/cell.py",
    "onionshh/config.py",
    "onionshh/crypto/layers.py",
    "onionshh/core/paths/path.py",
    "relay/limits.py",
    "rendezvous/ring.py",
    "directory/signing.py",
)


def sources() -> list[str]:
    """Every source file, relative to the root."""
    return sorted(
        path.relative_to(ROOT).as_posix()
        for folder in (*SHIPPED, *WHOLE_FOLDERS)
        for path in (ROOT / folder).rglob("*.py")
    )


@pytest.mark.parametrize("path", sources())
def test_file_keeps_to_its_layer(path: str) -> None:
    found = problems(path, (ROOT / path).read_text(encoding="utf-8"))
    assert not found, "\n".join(found)


def test_every_source_is_looked_at() -> None:
    assert {"onionshh/geometry.py", "onionshh/wire/packing.py", "tests/test_layers.py"} <= set(sources())


def test_every_row_names_a_package_that_is_there() -> None:
    assert {name.partition(".")[0] for name in LAYERS} == {"onionshh", *WHOLE_FOLDERS}
    assert set(LAYERS) >= set(PROGRAMS)


@pytest.mark.parametrize(
    "path, line, said",
    [
        # upward
        ("onionshh/wire/cell.py", "from onionshh.crypto import uiv", "layer 0 never imports layer 1"),
        ("onionshh/wire/cell.py", "from onionshh.crypto.uiv import Uiv", "layer 0 never imports layer 1"),
        ("onionshh/crypto/seal.py", "import onionshh.core.base.chance", "layer 1 never imports layer 2"),
        ("onionshh/core/link/link.py", "from onionshh.net import tcp", "layer 2 never imports layer 3"),
        ("onionshh/core/link/link.py", "from ...net.tcp import dial", "layer 2 never imports layer 3"),
        ("onionshh/core/__init__.py", "from ..net import tcp", "layer 2 never imports layer 3"),
        ("onionshh/net/links.py", "from onionshh.client.node import join", "layer 3 never imports layer 4"),
        ("onionshh/net/links.py", "import onionshh", "layer 3 never imports layer 4"),
        ("onionshh/net/links.py", "from onionshh import join", "layer 3 never imports layer 4"),
        ("relay/forward.py", "from onionshh.relay import driver", "layer 2 never imports layer 4"),
        ("relay/forward.py", "from .driver import Driver", "layer 2 never imports layer 4"),
        ("onionshh/core/paths/view.py", "if x:\n    import onionshh.client", "layer 2 never imports layer 4"),
        ("onionshh/client/node.py", "from tests.seeded import seeded", "layer 4 never imports layer 5"),
        # pure
        *(
            (path, line, "are pure")
            for path in PURE_PLACES
            for line in ("import trio", "import socket", "from os import urandom", "import os.path")
        ),
        ("onionshh/core/paths/path.py", "from pathlib import Path", "are pure"),
        ("onionshh/core/paths/path.py", "import sqlite3", "are pure"),
        ("onionshh/core/paths/path.py", "import time", "are pure"),
        ("onionshh/core/paths/path.py", "from random import Random", "are pure"),
        ("onionshh/core/paths/path.py", "import secrets", "are pure"),
        ("onionshh/core/paths/path.py", "import logging", "are pure"),
        ("onionshh/core/paths/path.py", "import httpx", "are pure"),
        ("onionshh/core/paths/path.py", "import asyncio", "are pure"),
        ("onionshh/core/paths/path.py", "import urllib.request", "are pure"),
        ("onionshh/crypto/seal.py", "import nacl.utils", "are pure"),
        ("onionshh/crypto/seal.py", "from nacl.utils import random", "are pure"),
        ("onionshh/core/paths/path.py", 'text = open("guards").read()', "calls open()"),
        ("onionshh/core/paths/path.py", 'trio = __import__("trio")', "calls __import__()"),
        ("onionshh/core/paths/path.py", "import datetime\nx = datetime.datetime.now()", "asks for the time"),
        ("onionshh/core/paths/path.py", "from datetime import date\nx = date.today()", "asks for the time"),
        ("onionshh/core/paths/path.py", "async def f() -> None: ...", "never wait"),
        # only in one place
        ("onionshh/core/paths/path.py", "from cryptography import x509", "only for onionshh.crypto"),
        ("onionshh/net/store.py", "import nacl.bindings", "only for onionshh.crypto"),
        ("relay/keys.py", "import zfec", "only for onionshh.crypto"),
        ("onionshh/wire/consensus.py", "import msgpack", "only for onionshh.wire.packing"),
        ("onionshh/crypto/seal.py", "import msgpack", "only for onionshh.wire.packing"),
        ("onionshh/net/tcp.py", "import stem.control", "only for onionshh.net.tor"),
        ("tests/net/test_tcp.py", "import stem", "only for onionshh.net.tor"),
        ("onionshh/client/node.py", "import rich", "only for onionshh.cli"),
        ("onionshh/client/node.py", "from onionshh.cli import main", "only for onionshh.cli"),
        # who knows whom
        ("onionshh/core/roles.py", "import onionshh.relay.forward", "never imports onionshh.relay"),
        ("onionshh/cli/relay.py", "from relay.keys import RelayKeys", "it is onionshh.relay"),
        ("tests/relay/test_keys.py", "import relay", "it is onionshh.relay"),
        ("onionshh/client/node.py", "from onionshh.directory import app", "never imports onionshh.directory"),
        ("onionshh/__init__.py", "import onionshh.rendezvous", "never imports onionshh.rendezvous"),
        ("relay/serve.py", "from onionshh.rendezvous.ring import Ring", "never import one another"),
        ("rendezvous/serve.py", "import onionshh.relay", "never import one another"),
        ("directory/serve.py", "from onionshh.relay import keys", "never import one another"),
        # the file itself
        ("relay/serve.py", "assert True", "asserts"),
        ("relay/extra.py", "", "no row"),
        ("onionshh/extra.py", "", "no row"),
    ],
)
def test_guard_catches(path: str, line: str, said: str) -> None:
    found = problems(path, TEXT + line + "\n")
    assert len(found) == 1, found
    assert path in found[0]
    assert said in found[0]


def test_guard_catches_a_missing_docstring() -> None:
    assert "docstring" in problems("relay/serve.py", "x = 1\n")[0]
    assert "docstring" in problems("simulations/world.py", "x = 1\n")[0]
    assert not problems("tests/test_x.py", "x = 1\n")


@pytest.mark.parametrize(
    "path, line",
    [
        ("onionshh/wire/packing.py", "import msgpack"),
        ("onionshh/crypto/seal.py", "from nacl import bindings"),
        ("onionshh/crypto/seal.py", "from cryptography.exceptions import InvalidTag"),
        ("onionshh/crypto/seal.py", "from onionshh import geometry as g"),
        ("onionshh/core/paths/path.py", "import hashlib, struct"),
        ("onionshh/core/paths/path.py", "from onionshh.core.base.chance import Chance"),
        ("onionshh/core/paths/path.py", "from .chance import Chance"),
        ("onionshh/core/paths/path.py", "from urllib.parse import urlsplit"),
        ("onionshh/net/tor.py", "import stem"),
        ("onionshh/net/store.py", "import os, sqlite3, trio"),
        ("onionshh/__init__.py", "from onionshh.client.node import join"),
        ("onionshh/cli/demo.py", "import onionshh.relay.serve, rich"),
        ("onionshh/testing.py", "from onionshh.directory.serve import serve"),
        ("relay/driver.py", "from .forward import Switch"),
        ("relay/forward.py", "from onionshh.relay import limits"),
        ("rendezvous/ring.py", "from onionshh.core.roles import Role"),
        ("simulations/world.py", "import onionshh.relay.forward, onionshh.directory.registry"),
        ("tests/benchmarks/tor.py", "import stem.process"),
        ("tests/wire/test_packing.py", "import msgpack\nassert msgpack"),
    ],
)
def test_guard_lets_through(path: str, line: str) -> None:
    assert not problems(path, TEXT + line + "\n")
