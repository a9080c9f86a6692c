"""A relay with several addresses: which is tried first, and that a dead one does not cost all the time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.net.dialling import dial_any, in_turn
from onionshh.net.memory import MemoryDialer, MemoryNetwork, MemoryStream
from onionshh.net.transport import StreamBroken
from onionshh.wire.descriptor import Address

FOUR, SIX = Address.of("192.0.2.1", 1), Address.of("2001:db8::1", 2)
SERVICE = Address.of("a2" * 28 + ".onion", 3)
ALL = (FOUR, SIX, SERVICE)


class Trying(MemoryDialer):
    """Hosts in `dead` refuse, hosts in `silent` never answer."""

    def __init__(
        self, network: MemoryNetwork, dead: tuple[Address, ...], silent: tuple[Address, ...]
    ) -> None:
        super().__init__(network, "me")
        self.dead, self.silent = dead, silent
        self.tried: list[str] = []

    async def dial(self, host: str, port: int) -> MemoryStream:
        self.tried.append(host)
        if host in [address.host for address in self.silent]:
            await trio.sleep_forever()
        if host in [address.host for address in self.dead]:
            raise StreamBroken(f"nobody at port {port}")
        return await super().dial(host, port)


def dialer(*, tor: bool = False, dead: tuple[Address, ...] = (), silent: tuple[Address, ...] = ()) -> Trying:
    network = MemoryNetwork()
    assert [network.listen(address.host).address[1] for address in ALL] == [1, 2, 3]
    if tor:
        network.reaching_onions.add("me")
    return Trying(network, dead, silent)


def test_an_onion_service_comes_first_for_those_with_tor_and_is_nothing_to_others() -> None:
    assert in_turn(dialer(), ALL) == [FOUR, SIX]
    assert in_turn(dialer(tor=True), ALL) == [SERVICE, FOUR, SIX]
    assert in_turn(dialer(), (SERVICE,)) == []


@pytest.mark.parametrize(
    ("tor", "dead", "tried"),
    [
        (False, (), [FOUR]),
        (False, (FOUR,), [FOUR, SIX]),
        (True, (), [SERVICE]),
        (True, (SERVICE, FOUR), [SERVICE, FOUR, SIX]),
    ],
)
async def test_the_next_address_is_tried_when_one_fails(
    tor: bool, dead: tuple[Address, ...], tried: list[Address]
) -> None:
    way = dialer(tor=tor, dead=dead)
    stream = await dial_any(way, ALL, 10.0)
    assert way.tried == [address.host for address in tried]
    stream.close()


async def test_all_of_them_fail_with_the_last_reason() -> None:
    way = dialer(dead=(FOUR, SIX))
    with pytest.raises(StreamBroken, match="nobody at port 2"):
        await dial_any(way, ALL, 10.0)


async def test_an_onion_service_alone_is_not_dialled_without_tor() -> None:
    way = dialer()
    with pytest.raises(StreamBroken, match="only C tor reaches an onion service"):
        await dial_any(way, (SERVICE,), 10.0)
    assert way.tried == []


async def test_a_silent_address_leaves_time_for_the_next(autojump_clock: MockClock) -> None:
    way = dialer(silent=(FOUR,))
    started = trio.current_time()
    stream = await dial_any(way, (FOUR, SIX), 9.0)
    assert trio.current_time() - started == pytest.approx(3.0)
    stream.close()
    way = dialer(silent=(FOUR, SIX))
    with trio.move_on_after(9.0) as scope:
        await dial_any(way, (FOUR, SIX), 9.0)
    assert scope.cancelled_caught
    assert way.tried == [FOUR.host, SIX.host]
