"""The directory whole: over a real socket, from its first start to its end."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
from trio.testing import MockClock

from onionshh.core.base.params import default_params
from onionshh.core.trust import open_consensus_untrusted
from onionshh.directory.serve import choose_params, is_loopback, serve
from onionshh.directory.store import create_or_open
from onionshh.net.clocks import Clock
from onionshh.net.http import listen
from onionshh.net.store import run_inline
from tests.directory.world import NETWORK, WALL, Prober, signed
from tests.seeded import seeded


async def test_a_directory_on_loopback(autojump_clock: MockClock, tmp_path: Path) -> None:
    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with create_or_open(
        tmp_path / "data", tmp_path / "network.toml", url=url, random_bytes=seeded(1)
    ) as store:
        async with trio.open_nursery() as nursery:
            await nursery.start(
                partial(
                    serve,
                    store,
                    listener,
                    params=choose_params("127.0.0.1", store.network, {}),
                    clock=Clock(WALL),
                    probe=Prober(),
                    random_bytes=seeded(2),
                    run_blocking=run_inline,
                )
            )
            async with httpx.AsyncClient(base_url=store.network.authorities[0].url, trust_env=False) as http:
                word = signed(1, host="127.0.0.1", port=9001)
                assert (await http.post("/relay", content=word)).status_code == 202
                await trio.sleep(6)
                answer = await http.get("/consensus")
                assert (await http.get("/")).status_code == 200
            before = trio.current_time()
            nursery.cancel_scope.cancel()
        assert trio.current_time() == before
        consensus = open_consensus_untrusted(answer.content, network=store.network, wall=WALL + 6)
    assert [row.nickname for row in consensus.relays] == ["relay1"]
    with trio.fail_after(1):
        listen("127.0.0.1", int(url.rpartition(":")[2])).close()  # the port is free again


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.7.7.7", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("192.168.1.1", False),
        ("example.org", False),
    ],
)
def test_who_listens_on_loopback_starts_a_one_machine_network(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    expected = default_params(authorities=1, one_machine=loopback)
    assert choose_params(host, NETWORK, {}) == expected
    assert choose_params(host, NETWORK, {"interval_seconds": 7}) == expected.with_overrides(
        {"interval_seconds": 7}
    )
    with pytest.raises(ValueError, match="no parameter"):
        choose_params(host, NETWORK, {"nonsense": 1})
