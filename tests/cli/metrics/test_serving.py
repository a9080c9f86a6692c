"""Numbers over HTTP: of which moment they are, who is answered, what a stranger can hold up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial

import httpx
import pytest
import trio
from trio.testing import MockClock

from onionshh.cli.metrics import families
from onionshh.cli.metrics.families import Sample, one
from onionshh.cli.metrics.serving import FIRST_SECONDS, LIMITS, MOMENT_SECONDS, Moment, app, serve
from onionshh.core.base.chance import Chance
from onionshh.net.http import listen
from tests.cli.metrics.exposed import parsed
from tests.seeded import seeded


class Program:
    """Something with one number, and a health."""

    def __init__(self) -> None:
        self.cells = 1
        self.why = ""
        self.asked = 0
        self.faulty = False

    def samples(self) -> Iterator[Sample]:
        self.asked += 1
        if self.faulty:
            raise LookupError("192.0.2.7")
        yield one(families.CELL_SENT, self.cells)

    def why_not_well(self) -> str:
        return self.why


def value(data: bytes, family: families.Family) -> float:
    return next(sample.value for sample in parsed(data) if sample.name == family.exposed)


@asynccontextmanager
async def client(
    program: Program, *, host: str = "127.0.0.1:9100", names: bool = False, health: bool = True
) -> AsyncIterator[httpx.AsyncClient]:
    moment = Moment("relay", program.samples, Chance(seeded(1)))
    made = app(moment, program.why_not_well if health else None, names=names)
    transport = httpx.ASGITransport(made)
    async with (
        httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as http,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(moment.run)
        yield http
        nursery.cancel_scope.cancel()


async def test_all_who_ask_get_the_same_moment_until_the_next(autojump_clock: MockClock) -> None:
    program = Program()
    async with client(program) as http:
        await trio.sleep(FIRST_SECONDS + 0.5)
        first = (await http.get("/metrics")).content
        program.cells = 100_000
        for _ in range(10):
            await trio.sleep(MOMENT_SECONDS / 11)
            assert (await http.get("/metrics")).content == first
        await trio.sleep(MOMENT_SECONDS / 10)
        later = (await http.get("/metrics")).content
        assert value(later, families.CELL_SENT) in (97 * 1024, 98 * 1024)
        assert program.asked == 2


async def test_a_program_that_has_just_begun_tells_nothing_false(autojump_clock: MockClock) -> None:
    program = Program()
    async with client(program) as http:
        names = {sample.name for sample in parsed((await http.get("/metrics")).content)}
        assert families.BUILD.exposed in names
        assert families.CELL_SENT.exposed not in names
        await trio.sleep(FIRST_SECONDS + 1)
        assert value((await http.get("/metrics")).content, families.CELL_SENT) == 1024


async def test_one_cell_does_not_show_from_one_moment_to_the_next(autojump_clock: MockClock) -> None:
    program = Program()
    async with client(program) as http:
        await trio.sleep(FIRST_SECONDS + 1)
        assert value((await http.get("/metrics")).content, families.CELL_SENT) == 1024
        program.cells += 1
        await trio.sleep(MOMENT_SECONDS)
        assert value((await http.get("/metrics")).content, families.CELL_SENT) == 1024
        assert program.asked == 2


async def test_lag_is_of_one_moment_and_uptime_goes_on(mock_clock: MockClock) -> None:
    moment = Moment("relay", lambda: (), Chance(seeded(1)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(moment.run)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(FIRST_SECONDS)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(20.0)  # no task ran meanwhile
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(36.0)
        await trio.testing.wait_all_tasks_blocked()
        assert value(moment.text(), families.LAG) == 35
        assert value(moment.text(), families.UPTIME) == 60
        moment.take()
        mock_clock.jump(60.5)
        moment.take()
        assert value(moment.text(), families.LAG) == 0
        assert value(moment.text(), families.UPTIME) == 120
        nursery.cancel_scope.cancel()


async def test_a_fault_in_counting_ends_nothing_and_is_said_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    program = Program()
    async with client(program) as http:
        program.faulty = True
        await trio.sleep(3 * MOMENT_SECONDS + 1)
        data = (await http.get("/metrics")).content
        assert families.CELL_SENT.exposed not in {sample.name for sample in parsed(data)}
        assert value(data, families.UPTIME) >= 60
        program.faulty = False
        await trio.sleep(MOMENT_SECONDS)
        assert value((await http.get("/metrics")).content, families.CELL_SENT) == 1024
    assert [record.message for record in caplog.records if "Prometheus" in record.message] == [
        "the numbers for Prometheus could not be taken (LookupError)",
        "the numbers for Prometheus can be taken again",
    ]


async def test_health_is_of_now_and_has_a_sentence(autojump_clock: MockClock) -> None:
    program = Program()
    async with client(program) as http:
        well = await http.get("/health")
        assert (well.status_code, well.text) == (200, "ok\n")
        program.why = "The consensus does not list this relay."
        ill = await http.get("/health")
        assert (ill.status_code, ill.text) == (503, "The consensus does not list this relay.\n")
        assert ill.headers["cache-control"] == "no-store"


async def test_a_host_has_no_health(autojump_clock: MockClock) -> None:
    async with client(Program(), health=False) as http:
        assert (await http.get("/health")).status_code == 404
        assert (await http.get("/metrics")).status_code == 200


@pytest.mark.parametrize("path", ["/", "/metrics/", "/debug", "/metrics/../health/"])
async def test_there_is_nothing_else(autojump_clock: MockClock, path: str) -> None:
    async with client(Program()) as http:
        assert (await http.get(path)).status_code == 404
        assert (await http.post("/metrics", content=b"x")).status_code == 405


@pytest.mark.parametrize("host", ["127.0.0.1:9100", "127.0.0.1", "[::1]:9100", "localhost:9100", "LOCALHOST"])
async def test_on_loopback_an_address_is_asked_for(autojump_clock: MockClock, host: str) -> None:
    async with client(Program()) as http:
        assert (await http.get("/metrics", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9100", "192.0.2.7", "", "[::1", "127.0.0.1.x"]
)
async def test_on_loopback_no_page_of_another_name_reads_them(autojump_clock: MockClock, host: str) -> None:
    """A name that leads to 127.0.0.1 would make a browser let the page read the answer."""
    async with client(Program()) as http:
        assert (await http.get("/metrics", headers={"Host": host})).status_code == 403
    async with client(Program(), names=True) as http:
        assert (await http.get("/metrics", headers={"Host": host})).status_code == 200


async def test_over_a_socket(autojump_clock: MockClock) -> None:
    program = Program()
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(serve, listener, "relay", program.samples, program.why_not_well))
            await trio.sleep(FIRST_SECONDS + 1)
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            data = b""
            while b"onionshh_cells_sent_total 1024.0\n" not in data:
                part = await stream.receive_some(65536)
                assert part, data
                data += part
            assert b"content-type: text/plain; version=0.0.4" in data
            await stream.aclose()
            nursery.cancel_scope.cancel()


def test_strangers_hold_little() -> None:
    assert LIMITS.connections <= 16
    assert LIMITS.body_bytes <= 1024
    assert LIMITS.request_seconds <= 10
    assert LIMITS.answer_seconds <= 10
