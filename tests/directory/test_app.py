"""What the directory says over HTTP, without a socket: each route, each refusal, nothing unescaped."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from starlette.applications import Starlette
from trio.testing import MockClock

from onionshh.config import parse_network_file
from onionshh.core.base.params import Params
from onionshh.core.trust import open_consensus_untrusted, sign_descriptor
from onionshh.directory import app as module
from onionshh.directory.app import BODY_MAX, PAGE_SECONDS, app
from onionshh.directory.authority import DirectoryAuthority
from onionshh.directory.page import Facts
from onionshh.net.clocks import Clock
from onionshh.net.store import run_inline
from tests.directory.world import (
    NETWORK,
    WALL,
    Prober,
    descriptor,
    one_machine,
    relay_key,
    signed,
    store_in,
)
from tests.net.test_clocks import Jumping
from tests.seeded import seeded


@asynccontextmanager
async def serving(
    path: Path, prober: Prober | None = None, params: Params | None = None, clock: Clock | None = None
) -> AsyncIterator[Starlette]:
    """What a running authority says over HTTP."""
    authority = DirectoryAuthority(
        store_in(path),
        params=params or one_machine(),
        clock=clock or Clock(WALL),
        probe=prober or Prober(),
        random_bytes=seeded(1),
        run_blocking=run_inline,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: authority.run(task_status=task_status))
        yield app(authority)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def client(
    path: Path,
    prober: Prober | None = None,
    params: Params | None = None,
    source: str = "127.0.0.1",
    clock: Clock | None = None,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running authority, seen by it at the address `source`."""
    async with serving(path, prober, params, clock) as application:
        transport = httpx.ASGITransport(application, client=(source, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://directory") as http:
            yield http


def local(number: int, published: int = WALL) -> bytes:
    where = {"host": "127.0.0.1", "port": 9000 + number}
    return signed(number, **where, published=published, software="onionshh 0.1.0")


async def test_a_relay_from_its_first_word_to_its_row(autojump_clock: MockClock, tmp_path: Path) -> None:
    where = f"/relay/{descriptor(1).identity.hex()}"
    async with client(tmp_path) as http:
        unknown = await http.get(where)
        assert unknown.status_code == 404
        assert unknown.json()["status"] == "unknown"
        assert unknown.json()["known"] is False
        posted = await http.post("/relay", content=local(1))
        assert posted.status_code == 202
        assert posted.json() == {"status": "accepted", "why": ""}
        assert (await http.get(where)).json()["status"] == "checking"
        await trio.sleep(1)
        assert (await http.get(where)).json()["status"] == "reached"
        await trio.sleep(5)
        assert (await http.get(where.upper().replace("RELAY", "relay"))).json() == {
            "id": descriptor(1).identity.hex(),
            "status": "listed",
            "known": True,
            "listed": True,
            "why": "",
            "address": "127.0.0.1:9001",
            "published": WALL,
            "nickname": "relay1",
            "since": WALL,
            "last_check": WALL,
            "answered": True,
            "up_hours": 0,
            "places": [{"address": "127.0.0.1:9001", "answered": True, "why": ""}],
            "software": "onionshh 0.1.0",
            "refused": None,
        }
        assert (await http.get("/relays")).json() == [
            {
                "nickname": "relay1",
                "id": descriptor(1).identity.hex(),
                "address": "127.0.0.1:9001",
                "addresses": ["127.0.0.1:9001"],
                "flags": ["GUARD", "RING", "FAST"],
                "weight": 1,
                "first_seen": WALL,
                "software": "onionshh 0.1.0",
                "last_check": WALL,
                "answered": True,
                "up_hours": 0,
                "places": [{"address": "127.0.0.1:9001", "answered": True, "why": ""}],
            }
        ]


async def test_a_relay_is_told_why_it_is_not_listed(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with client(tmp_path, Prober(dead={"127.0.0.1:9001": "connection refused"})) as http:
        await http.post("/relay", content=local(1))
        await trio.sleep(1)
        told = (await http.get(f"/relay/{descriptor(1).identity.hex()}")).json()
        assert told["status"] == "failing"
        assert told["listed"] is False
        assert told["why"] == "connection refused"
        page = (await http.get("/")).text
        assert "connection refused" in page
        assert "0 relays are listed, and 1 more is known and not listed" in page
        assert "It did not answer its last check: connection refused." in page


async def test_its_health_is_a_word_or_a_sentence(autojump_clock: MockClock, tmp_path: Path) -> None:
    clock = Jumping(WALL)
    async with client(tmp_path, clock=clock) as http:
        await trio.sleep(0.5)
        well = await http.get("/health")
        assert (well.status_code, well.text) == (200, "ok\n")
        assert well.headers["cache-control"] == "no-store"
        assert (await http.head("/health")).status_code == 200
        clock.ahead = 3600
        late = await http.get("/health")
        assert (late.status_code, late.text) == (503, "No new consensus could be made in time.\n")
        clock.ahead = -3600
        early = await http.get("/health")
        assert early.status_code == 503
        assert early.text.startswith("This directory's clock is wrong: ")
        assert (await http.post("/health")).status_code == 405


async def test_the_consensus_and_its_caching(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        await trio.sleep(0.5)
        first = await http.get("/consensus")
        assert first.status_code == 200
        opened = open_consensus_untrusted(first.content, network=NETWORK, wall=WALL)
        assert opened.valid_after == WALL
        assert first.headers["content-type"] == "application/octet-stream"
        assert first.headers["cache-control"] == "public, max-age=5"
        again = await http.get("/consensus", headers={"If-None-Match": f'"x", {first.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        await trio.sleep(3)
        assert (await http.get("/relays")).headers["cache-control"] == "public, max-age=2"
        await trio.sleep(5)
        later = await http.get("/consensus", headers={"If-None-Match": first.headers["etag"]})
        assert later.status_code == 200
        assert later.headers["etag"] != first.headers["etag"]


async def test_bad_descriptors(autojump_clock: MockClock, tmp_path: Path) -> None:
    good = local(1)
    async with client(tmp_path) as http:
        changed = good[:-1] + bytes((good[-1] ^ 1,))
        for bad in (b"", b"{}", b"\xff" * 200, good[:-1], good + b"\x00", changed):
            refused = await http.post("/relay", content=bad)
            assert refused.status_code == 400
            assert refused.json()["status"] == "refused"
            assert "not a valid relay descriptor" in refused.json()["why"]
        assert (await http.post("/relay", content=bytes(BODY_MAX))).status_code == 400
        assert (await http.post("/relay", content=good)).status_code == 202
        await http.post("/relay", content=local(1, WALL + 2))
        stale = await http.post("/relay", content=local(1, WALL + 1))
        assert stale.status_code == 409
        assert "published" in stale.json()["why"]


async def test_a_body_is_not_read_past_its_cap(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Asked as a server that hands on the body as it comes would ask."""
    read, told = 0, []

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 40_000
        return {"type": "http.request", "body": bytes(40_000), "more_body": True}

    async def send(message: MutableMapping[str, Any]) -> None:
        told.append(message.get("status"))

    async with serving(tmp_path) as application:
        scope = {"type": "http", "method": "POST", "path": "/relay", "headers": [], "query_string": b""}
        await application({**scope, "client": ("127.0.0.1", 1), "root_path": ""}, receive, send)
    assert told[0] == 413
    assert read == 80_000 > BODY_MAX


async def test_rules_of_a_public_network_reach_the_operator(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with client(tmp_path, params=Params(), source="8.0.1.1") as http:
        assert (await http.post("/relay", content=signed(1))).status_code == 202
        other = await http.post("/relay", content=signed(2))
        assert other.status_code == 403
        assert "this came from 8.0.1.1 but advertises 8.0.2.1" in other.json()["why"]
        told = (await http.get(f"/relay/{descriptor(2).identity.hex()}")).json()
        assert (told["known"], told["status"]) == (False, "unknown")
        assert "this came from another address but advertises 8.0.2.1" in told["refused"]
        for i in range(70):
            last = await http.post("/relay", content=signed(1, published=WALL + i))
        assert last.status_code == 429


async def test_what_is_no_route(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        assert (await http.get("/relay/xyz")).status_code == 400
        assert (await http.get("/relay/" + "ab" * 31)).status_code == 400
        assert (await http.get("/relay")).status_code == 405
        assert (await http.post("/consensus", content=b"x")).status_code == 405
        assert (await http.get("/etc/passwd")).status_code == 404


async def test_the_page_shows_what_there_is_and_lets_nothing_through_unescaped(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    evil = "<script>alert(1)</script>"
    async with client(tmp_path, Prober(dead={"127.0.0.1:9002": evil})) as http:
        for number in (1, 2):
            await http.post("/relay", content=local(number))
        await trio.sleep(6)
        page = await http.get("/")
        assert page.headers["content-type"].startswith("text/html")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        text = page.text
        assert "1 relay is listed, and 1 more is known and not listed" in text
        for part in ("relay1", "127.0.0.1:9001", "<li>Guard</li>", "100.0 %", "relay2", "&lt;script&gt;"):
            assert part in text
        assert evil not in text
        assert "2023-11-14 01:00:05 UTC" in text
        shown = text.partition("<pre>")[2].partition("</pre>")[0].replace("&quot;", '"')
        assert parse_network_file(shown) == NETWORK
        json.dumps((await http.get("/relays")).json())


async def test_relays_that_are_not_listed_are_told_to_programs(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that are known are told, no more than so many, and the rest are counted."""
    monkeypatch.setattr(module, "UNLISTED_MOST", 2)
    dead = {f"127.0.0.1:{9000 + number}": "connection refused" for number in (2, 3, 4)}
    async with client(tmp_path, Prober(dead=dead)) as http:
        assert (await http.get("/unlisted")).json() == {"relays": [], "left_off": 0}
        for number in (1, 2, 3, 4):
            await http.post("/relay", content=local(number))
        await trio.sleep(PAGE_SECONDS + 6)
        answer = (await http.get("/unlisted")).json()
        assert [relay["nickname"] for relay in answer["relays"]] == ["relay2", "relay3"]
        assert answer["left_off"] == 1
        told = answer["relays"][0]
        assert told == (await http.get(f"/relay/{told['id']}")).json()
        assert (told["status"], told["answered"], told["why"]) == ("failing", False, "connection refused")


async def test_the_page_is_made_once_for_all_who_ask_within_some_seconds(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0

    def page(facts: Facts) -> str:
        nonlocal made
        made += 1
        return f"page {made}"

    monkeypatch.setattr(module, "page", page)
    async with client(tmp_path) as http:
        for _ in range(20):
            assert (await http.get("/")).text == "page 1"
            await http.get("/unlisted")
        await trio.sleep(PAGE_SECONDS)
        assert (await http.get("/")).text == "page 2"


async def test_no_descriptor_can_carry_markup(autojump_clock: MockClock, tmp_path: Path) -> None:
    word = descriptor(1, host="127.0.0.1", nickname="<b>x</b>")
    async with client(tmp_path) as http:
        refused = await http.post("/relay", content=sign_descriptor(word, relay_key(1)))
        assert refused.status_code == 400
