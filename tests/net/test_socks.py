"""SOCKS5: what is asked of a proxy, what it may answer, and that nothing goes around it."""

from __future__ import annotations

import random
import socket
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from onionshh.config import Authority
from onionshh.net.authority_client import DirectoryUnreachable, HttpSource
from onionshh.net.socks import ANSWER_MOST, Handshake, ProxyFailed, SocksDialer, dialer_of
from onionshh.net.tcp import TcpDialer, TcpListener
from onionshh.net.transport import NothingThere, StreamBroken
from onionshh.net.via import SOCKS_SECONDS, Via, parse_via
from tests.net.proxies import Proxy, listening, running
from tests.seeded import seeded

LOGIN = (b"me", b"s3cret")
KEY = bytes(32)
CLOSED = "closed the connection|connection to the proxy broke"  # as the system happens to tell it


def through(proxy: Proxy | str, number: int = 1) -> SocksDialer:
    text = proxy if isinstance(proxy, str) else proxy.via
    return SocksDialer(parse_via(text), seeded(number))


@pytest.fixture
async def names() -> list[str | bytes | None]:
    """Every name that is looked up here."""
    asked: list[str | bytes | None] = []

    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host: bytes | None, *rest: object) -> list[tuple[object, ...]]:  # type: ignore[override]
            asked.append(host)
            raise socket.gaierror("nobody may ask")

        async def getnameinfo(self, *rest: object) -> tuple[str, str]:
            raise socket.gaierror("nobody may ask")

    trio.socket.set_custom_hostname_resolver(Resolver())
    return asked


# Through a proxy that works.


@pytest.mark.parametrize("login", [None, LOGIN])
async def test_a_link_goes_through_and_names_are_looked_up_by_the_proxy(
    login: tuple[bytes, bytes] | None, names: list[object]
) -> None:
    listener = TcpListener("127.0.0.1", 0)
    async with running(Proxy({"relay.example": listener.address}, login)) as proxy:
        text = proxy.via.replace("//", "//me:s3cret@") if login else proxy.via
        for host, kind in (("relay.example", 3), ("127.0.0.1", 1)):
            near = await through(text).dial(host, listener.address[1])
            far = await listener.accept()
            far.send_some(b"first")
            near.send_some(b"hello")
            assert await far.receive_some() == b"hello"
            assert await near.receive_some() == b"first"
            assert (proxy.asked[-1].kind, proxy.asked[-1].host) == (kind, host)
            near.close()
            far.close()
    listener.close()
    assert names == []


async def test_http_goes_through_and_names_are_looked_up_by_the_proxy(names: list[object]) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nconsensus")

    async with listening(answer) as port, running(Proxy({"dir.example": ("127.0.0.1", port)})) as proxy:
        source = HttpSource(via=parse_via(proxy.via))
        assert await source.consensus(Authority("http://dir.example:80", KEY)) == b"consensus"
        assert [(one.host, one.port) for one in proxy.asked] == [("dir.example", 80)]
    assert names == []


async def test_the_connection_to_the_proxy_comes_from_the_address_asked_for() -> None:
    seen = []

    async def look(stream: trio.SocketStream) -> None:
        seen.append(stream.socket.getpeername()[0])
        await stream.aclose()

    async with listening(look) as port:
        via = parse_via(f"socks5://127.0.0.1:{port}")
        with pytest.raises(ProxyFailed, match=CLOSED):
            await SocksDialer(via, seeded(1), "127.0.0.9").dial("192.0.2.1", 1)
        with pytest.raises(DirectoryUnreachable, match=CLOSED):
            await HttpSource("127.0.0.8", via=via).consensus(Authority("http://192.0.2.1", KEY))
    assert seen == ["127.0.0.9", "127.0.0.8"]


async def test_streams_through_tor_are_kept_apart_by_destination() -> None:
    async with running(Proxy(any_login=True, refuse=1)) as proxy:
        for text in (f"tor=127.0.0.1:{proxy.port}", proxy.via):
            dialer = through(text)
            for host in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
                with pytest.raises(ProxyFailed):
                    await dialer.dial(host, 9001)
    tor, plain = proxy.asked[:3], proxy.asked[3:]
    assert (tor[0].user, tor[0].password) == (tor[2].user, tor[2].password) != (tor[1].user, tor[1].password)
    assert {one.user for one in plain} == {b""}


def test_the_way_out_is_chosen_once() -> None:
    assert isinstance(dialer_of(None, None), TcpDialer)
    plain, tor = (dialer_of(None, parse_via(text)) for text in ("socks5://h:1", "tor"))
    assert isinstance(plain, SocksDialer)
    assert (plain.reaches_onions, tor.reaches_onions) == (False, True)
    assert 0 < plain.slower_seconds < tor.slower_seconds


# When it does not work: one sentence, and nothing goes around it.


async def reached(listener: TcpListener) -> bool:
    with trio.move_on_after(0.05):
        (await listener.accept()).close()
        return True
    return False


@pytest.mark.parametrize(
    ("proxy", "login", "said"),
    [
        (Proxy(login=LOGIN), "", "the proxy wants a user and a password"),
        (Proxy(login=LOGIN), "me:wrong@", "the proxy does not take this user and password"),
        (Proxy(), "me:s3cret@", "the proxy does not take a user and a password"),
        (Proxy(refuse=1), "", "the proxy refused the connection: it could not be made"),
        (Proxy(refuse=2), "", "the proxy refused the connection: its rules do not allow it"),
        (Proxy(refuse=5), "", "the proxy refused the connection: the host refused it"),
        (Proxy(refuse=99), "", "what answers there is not a SOCKS5 proxy"),
    ],
)
async def test_a_proxy_that_refuses(proxy: Proxy, login: str, said: str) -> None:
    listener = TcpListener("127.0.0.1", 0)
    host, port = listener.address
    async with running(proxy):
        text = proxy.via.replace("//", f"//{login}")
        with pytest.raises(ProxyFailed) as raised:
            await through(text).dial(host, port)
        assert str(raised.value) == said
        assert isinstance(raised.value, NothingThere) is ("the host refused it" in said)
        with pytest.raises(DirectoryUnreachable) as unreachable:
            await HttpSource(via=parse_via(text)).consensus(Authority(f"http://{host}:{port}", KEY))
        assert str(unreachable.value) == said
        assert not await reached(listener)
    listener.close()


async def test_a_proxy_that_is_not_there() -> None:
    listener = TcpListener("127.0.0.1", 0)
    host, port = listener.address
    with socket.socket() as held:  # held, so that nobody else listens there meanwhile
        held.bind(("127.0.0.1", 0))
        via = f"socks5://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(StreamBroken) as raised:
            await through(via).dial(host, port)
        assert str(raised.value) == "the proxy does not answer (Connection refused)"
        with pytest.raises(DirectoryUnreachable) as unreachable:
            await HttpSource(via=parse_via(via)).consensus(Authority(f"http://{host}:{port}", KEY))
        assert str(unreachable.value) == "the proxy does not answer (Connection refused)"
    assert not await reached(listener)
    listener.close()


async def test_what_is_wrong_with_the_proxy_is_known_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A host that cannot be reached is no trouble of the proxy."""
    listener = TcpListener("127.0.0.1", 0)
    host, port = listener.address
    proxy = Proxy(login=LOGIN)
    async with running(proxy):
        dialer = through(proxy)
        assert dialer.trouble == ""
        for _ in range(3):
            with pytest.raises(ProxyFailed):
                await dialer.dial(host, port)
        assert dialer.trouble == "the proxy wants a user and a password"
        proxy.login, proxy.refuse = None, 5
        with pytest.raises(ProxyFailed, match="refused"):
            await dialer.dial(host, port)
        assert dialer.trouble == ""
    listener.close()
    assert [record.message for record in caplog.records if "proxy" in record.message] == [
        "the proxy wants a user and a password",
        "the proxy answers again",
    ]


@pytest.mark.parametrize("host", ["", "a" * 256, "hö.example", "a\u0000b" * 90])
async def test_a_host_that_is_no_name(host: str) -> None:
    async with running(Proxy()) as proxy:
        with pytest.raises(ProxyFailed, match="not a host name"):
            await through(proxy).dial(host, 1)
        assert proxy.asked == []


async def test_only_tor_is_asked_for_an_onion_service_and_its_name_is_not_looked_up(
    names: list[object],
) -> None:
    host = "a2" * 28 + ".onion"
    async with running(Proxy(refuse=4, any_login=True)) as proxy:
        for dialer in (TcpDialer(), through(proxy)):
            with pytest.raises(StreamBroken, match="only C tor reaches an onion service"):
                await dialer.dial(host, 9001)
        for source in (HttpSource(), HttpSource(via=parse_via(proxy.via))):
            for written in (host, host.upper(), f"{host}."):
                with pytest.raises(DirectoryUnreachable, match="only C tor reaches an onion service"):
                    await source.consensus(Authority(f"http://{written}:80", KEY))
        assert proxy.asked == []
        with pytest.raises(ProxyFailed, match="the host cannot be reached"):
            await through(f"tor=127.0.0.1:{proxy.port}").dial(host, 9001)
        assert [(one.kind, one.host) for one in proxy.asked] == [(3, host)]
    assert names == []


# Hostile proxies.


@pytest.mark.parametrize("there", [b"", b"\x05", b"\x05\x00", b"\x05\x00\x05\x00\x00\x03\xff" + b"x" * 200])
async def test_a_proxy_that_falls_silent_is_waited_for_only_so_long(
    autojump_clock: MockClock, there: bytes
) -> None:
    async def half(stream: trio.SocketStream) -> None:
        await stream.send_all(there)
        await trio.sleep_forever()

    async with listening(half) as port:
        via = Via("127.0.0.1", port)
        autojump_clock.autojump_threshold = 0.05
        started = trio.current_time()
        with pytest.raises(ProxyFailed, match="no connection within 10 seconds"):
            await SocksDialer(via, seeded(1)).dial("192.0.2.1", 1)
        assert trio.current_time() - started == pytest.approx(SOCKS_SECONDS)
        with pytest.raises(DirectoryUnreachable, match="no connection within 10 seconds"):
            await HttpSource(via=via).consensus(Authority("http://192.0.2.1", KEY))


@pytest.mark.parametrize(
    "answers",
    [
        *(b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x04\x00", b"\x05\x01", b"\x05\x02", b"\x05\x80", b"\0\0"),
        *(b"\x05\x00" + rest for rest in (b"\x04\x00\x00\x01" + bytes(9), b"\x05\x00\x00\x02" + bytes(9))),
        b"\x05\x00\x05\x63\x00\x01" + bytes(9),
    ],
)
def test_garbage_is_no_proxy(answers: bytes) -> None:
    for size in (1, 1000):
        with pytest.raises(ProxyFailed, match=r"not a SOCKS5 proxy"):
            fed(Handshake("192.0.2.1", 1, None), answers, size)


@pytest.mark.parametrize(
    ("login", "answers"),
    [
        (None, b"\x05\x00\x05\x00\x00\x01" + bytes(6)),
        (None, b"\x05\x00\x05\x00\x00\x04" + bytes(18)),
        (None, b"\x05\x00\x05\x00\x00\x03\xff" + b"a" * 255 + bytes(2)),
        (None, b"\x05\x00\x05\x00\x00\x03\x00" + bytes(2)),
        (None, b"\x05\x00\x05\x00\x00\x03\x02\xff\xfe" + bytes(2)),
        (LOGIN, b"\x05\x02\x01\x00\x05\x00\x00\x01" + bytes(6)),
    ],
)
def test_an_answer_is_taken_whole_or_byte_by_byte_and_nothing_behind_it(
    login: tuple[bytes, bytes] | None, answers: bytes
) -> None:
    for size in (1, 1000):
        handshake = Handshake("relay.example", 9001, login)
        assert fed(handshake, answers + b"what follows", size) == len(answers)
        assert handshake.wants == 0
    for end in range(len(answers)):
        with pytest.raises(ProxyFailed, match="closed the connection"):
            fed(Handshake("relay.example", 9001, login), answers[:end], 1000)


def test_noise_never_does_more_than_fail() -> None:
    chance = random.Random(5)
    for _ in range(3000):
        noise = bytearray(chance.randbytes(ANSWER_MOST + 8))
        noise[: chance.choice((0, 2, 3, 4))] = b"\x05\x00\x05\x00"[: chance.choice((0, 2, 3, 4))]
        handshake = Handshake("192.0.2.1", 1, None)
        try:
            fed(handshake, bytes(noise), 1000)
        except ProxyFailed:
            continue
        assert handshake.wants == 0


def fed(handshake: Handshake, answers: bytes, size: int) -> int:
    """Feed a handshake with as much as it wants, `size` bytes at a time at most. Returns how much it took."""
    at = 0
    while handshake.wants:
        assert handshake.wants <= ANSWER_MOST
        handshake.data_to_send()
        part = answers[at : at + min(handshake.wants, size)]
        handshake.receive_data(part)
        at += len(part)
    return at


Dial = Callable[[], Awaitable[object]]


async def test_a_cancelled_dial_leaves_no_socket_open() -> None:
    async with listening(lambda stream: trio.sleep_forever()) as port:
        via = Via("127.0.0.1", port)
        for dial in (
            lambda: SocksDialer(via, seeded(1)).dial("192.0.2.1", 1),
            lambda: HttpSource(via=via).consensus(Authority("http://192.0.2.1", KEY)),
        ):
            with trio.move_on_after(0.02):
                await dial()
    # -W error turns a socket that nobody closed into a failure.
