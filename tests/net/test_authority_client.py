"""Authorities asked over HTTP: what is read, what is given up, what is refused (SPEC 8)."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping

import httpcore
import pytest
import trio
from trio.testing import MockClock

from onionshh.config import Authority
from onionshh.geometry import CONSENSUS_MAX
from onionshh.ids import RelayId
from onionshh.net.authority_client import DirectoryUnreachable, HttpSource

DOCUMENT = b"a consensus, as it came"


class Answering(httpcore.AsyncConnectionInterface):
    """A network in which every request gets the handler's answer."""

    def __init__(self, handler: Callable[[httpcore.Request, bytes], httpcore.Response]) -> None:
        self._handler = handler

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        assert isinstance(request.stream, AsyncIterable)
        return self._handler(request, b"".join([part async for part in request.stream]))


def source_of(handler: Callable[[httpcore.Request, bytes], httpcore.Response]) -> HttpSource:
    return HttpSource(network=Answering(handler))


AUTHORITY = Authority("http://directory.invalid:7000/", bytes(32))


class Body:
    """A body as it comes from the network: so many parts, each after a pause. `sent`: bytes taken of it."""

    def __init__(self, part: bytes, parts: float = 1, pause_seconds: float = 0.0) -> None:
        self.sent = 0
        self._part = part
        self._parts = parts
        self._pause = pause_seconds

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._parts <= 0:
            raise StopAsyncIteration
        await trio.sleep(self._pause)
        self._parts -= 1
        self.sent += len(self._part)
        return self._part


def answer_of(
    status: int, text: str | bytes, headers: Mapping[bytes | str, bytes | str] | None = None
) -> httpcore.Response:
    body = text.encode() if isinstance(text, str) else text
    return httpcore.Response(status, content=Body(body), headers=headers)


async def test_an_answer_that_is_too_large_is_not_read_to_its_end(autojump_clock: MockClock) -> None:
    body = Body(b"", 0)
    source = source_of(lambda request, content: httpcore.Response(200, content=body))
    for most, ask, arguments in (
        (CONSENSUS_MAX, source.consensus, ()),
        (64 * 1024, source.publish, (b"x",)),
        (64 * 1024, source.status, (RelayId(bytes(32)),)),
    ):
        body = Body(bytes(65536), float("inf"))
        with pytest.raises(DirectoryUnreachable, match="too large"):
            await ask(AUTHORITY, *arguments)
        assert body.sent <= most + 65536


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "Not Found"),
        (200, "junk"),
        (200, "[]"),
        (200, '{"relays": {}, "left_off": 0}'),
        (200, '{"relays": [], "left_off": "x"}'),
        (500, '{"relays": [], "left_off": 0}'),
    ],
)
async def test_what_is_no_list_of_relays_that_are_not_listed(status: int, said: str) -> None:
    source = source_of(lambda request, content: answer_of(status, said))
    with pytest.raises(DirectoryUnreachable, match=f"HTTP {status}"):
        await source.unlisted(AUTHORITY)


async def test_relays_that_are_not_listed_are_taken_as_objects_and_nothing_else() -> None:
    said = '{"relays": [{"id": "ab"}, 7, null], "left_off": 3}'
    source = source_of(lambda request, content: answer_of(200, said))
    assert await source.unlisted(AUTHORITY) == (({"id": "ab"},), 3)


async def test_an_answer_that_drips_or_never_comes_is_given_up(autojump_clock: MockClock) -> None:
    started = trio.current_time()
    drip = source_of(lambda request, content: httpcore.Response(200, content=Body(b"x", float("inf"), 1.0)))
    with pytest.raises(DirectoryUnreachable, match="too long"):
        await drip.consensus(AUTHORITY)
    assert trio.current_time() - started <= 30


async def test_what_the_directory_answers_is_read_as_it_is_meant(autojump_clock: MockClock) -> None:
    seen: list[tuple[str, str, bytes]] = []
    answer = answer_of(202, '{"status": "accepted", "why": ""}')

    def handler(request: httpcore.Request, content: bytes) -> httpcore.Response:
        seen.append((request.method.decode(), bytes(request.url).decode(), content))
        return answer

    source = source_of(handler)
    assert await source.publish(AUTHORITY, b"descriptor") is None
    relay = RelayId(bytes(range(32)))
    for refusal, why in (
        (answer_of(403, '{"status": "refused", "why": "too many"}'), "too many"),
        (answer_of(500, "<html>"), "HTTP 500"),
        (answer_of(400, '["why"]'), "HTTP 400"),
        (answer_of(400, "[" * 50_000), "HTTP 400"),
    ):
        answer = refusal
        assert await source.publish(AUTHORITY, b"descriptor") == why
    answer = answer_of(200, '{"listed": true}')
    assert await source.status(AUTHORITY, relay) == {"listed": True}
    answer = answer_of(200, DOCUMENT)
    assert await source.consensus(AUTHORITY) == DOCUMENT
    for failure, why in (
        (answer_of(503, ""), "it has no consensus yet"),
        (answer_of(404, ""), "HTTP 404"),
        (answer_of(302, "", {"Location": "http://elsewhere.invalid/"}), "HTTP 302"),
        (answer_of(500, ""), "HTTP 500"),
    ):
        answer = failure
        with pytest.raises(DirectoryUnreachable, match=why):
            await source.consensus(AUTHORITY)
    assert {(method, url) for method, url, _ in seen} == {
        ("POST", "http://directory.invalid:7000/relay"),
        ("GET", f"http://directory.invalid:7000/relay/{relay.hex()}"),
        ("GET", "http://directory.invalid:7000/consensus"),
    }
    assert all(content == (b"descriptor" if method == "POST" else b"") for method, _, content in seen)


async def test_a_date_that_cannot_be_read_is_no_witness_and_no_fault(autojump_clock: MockClock) -> None:
    header: dict[bytes | str, bytes | str] = {}
    source = source_of(lambda request, content: answer_of(200, DOCUMENT, header))
    said = []
    for value in (
        "Tue, 14 Nov 2023 22:13:20 GMT",
        "Tue, 14 Nov 2023 22:13:20 -0000",
        "Tue, 14 Nov 99999999999999 22:13:20 GMT",
        "Tue, 14 Nov 2023 99:99:99 GMT",
        "\xff" * 40,
        "9" * 10_000,
        "",
        "now",
    ):
        header["Date"] = value.encode("latin-1")
        await source.consensus(AUTHORITY)
        said.append(source.date(AUTHORITY))
    assert said[:2] == [1_700_000_000] * 2
    assert set(said[2:]) == {None}
    header.clear()
    await source.consensus(AUTHORITY)
    assert source.date(AUTHORITY) is None
