"""Puts the directory together: parameters, authority, HTTP (SPEC 8).

At the start, the caller holds the folder and binds the socket, and shows their errors to a person. Then the
first consensus is published. Only then does HTTP answer.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping

import trio

from onionshh.config import NetworkFile
from onionshh.core.base.params import Params, default_params
from onionshh.directory.app import app
from onionshh.directory.authority import DirectoryAuthority
from onionshh.directory.checks import Probe
from onionshh.directory.store import AuthorityStore
from onionshh.ids import RandomBytes
from onionshh.net.clocks import Clock
from onionshh.net.http import Limits, serve_http
from onionshh.net.store import RunBlocking, run_in_thread


def is_loopback(host: str) -> bool:
    """Whether a directory that listens here starts a one-machine network."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def choose_params(listen_host: str, network: NetworkFile, overrides: Mapping[str, int]) -> Params:
    """The parameters this authority signs. ValueError, in a sentence for the operator."""
    params = default_params(authorities=len(network.authorities), one_machine=is_loopback(listen_host))
    return params.with_overrides(overrides)


async def serve(
    store: AuthorityStore,
    listener: socket.socket,
    *,
    params: Params,
    clock: Clock,
    probe: Probe,
    random_bytes: RandomBytes,
    run_blocking: RunBlocking = run_in_thread,
    task_status: trio.TaskStatus[DirectoryAuthority] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run an authority on a listening socket (`http.listen`) until cancelled; started when it answers.

    `probe` makes a link handshake to a relay at each of its addresses.
    """
    authority = DirectoryAuthority(
        store,
        params=params,
        clock=clock,
        probe=probe,
        random_bytes=random_bytes,
        run_blocking=run_blocking,
    )
    # On a one-machine network everyone has one address, and there are no strangers to limit.
    limits = Limits() if params.relays_per_ip else Limits(connections_per_ip=0)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: authority.run(task_status=task_status))
        await nursery.start(
            lambda task_status: serve_http(
                app(authority),
                listener,
                wall=clock.wall,
                limits=limits,
                answers=authority.answers,
                task_status=task_status,
            )
        )
        task_status.started(authority)
