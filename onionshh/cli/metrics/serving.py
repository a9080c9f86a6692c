"""Serves a program's numbers over HTTP, and whether it is well.

    GET /metrics    Prometheus text
    GET /health     200 and a word, or 503 and a sentence: why it is not well. Not for a host.

The numbers are of one moment. The next moment comes after `MOMENT_SECONDS` of the program's own time, not
when somebody asks. So whoever asks often learns no more, and nobody chooses the moment. To answer costs
little: the bytes are there. In its first seconds a program knows nothing yet. Then its numbers are absent, as
a false 0 would wake somebody.

On a loopback address only requests for an address are answered, not for a name. Otherwise a web page could
have a browser on this machine ask for its own name, which it has lead to 127.0.0.1, and read the answer.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from onionshh.cli.metrics.exposition import CONTENT_TYPE, text
from onionshh.cli.metrics.families import Sample
from onionshh.cli.metrics.option import is_loopback
from onionshh.cli.metrics.rounding import Rounding
from onionshh.cli.metrics.samples import of_process
from onionshh.core.base.chance import Chance
from onionshh.net.clocks import Clock
from onionshh.net.conditions import Condition
from onionshh.net.http import Limits, serve_http
from onionshh.net.lag import LoopLag

logger = logging.getLogger("onionshh.metrics")

MOMENT_SECONDS = 30.0
FIRST_SECONDS = 5.0
"""Until the first moment."""
LIMITS = Limits(
    head_bytes=8 * 1024,
    body_bytes=1024,
    pieces=64,
    request_seconds=5.0,
    send_seconds=5.0,
    answer_seconds=10.0,
    connections=16,
    connections_per_ip=0,
)
"""A few programs of the operator ask. When all places are taken, the idlest connection gives way."""
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Moment:
    """The numbers of the last moment, as text. `samples()`: those of the program, as they are now."""

    def __init__(self, kind: str, samples: Callable[[], Iterable[Sample]], chance: Chance) -> None:
        self._kind = kind
        self._samples = samples
        self._rounding = Rounding(chance)
        self._fault = Condition(logger.error)
        self._began = trio.current_time()
        self._lag = LoopLag()
        self._set(())

    async def run(self) -> None:
        """Take the numbers of one moment after the other, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._lag.run)
            await trio.sleep(FIRST_SECONDS)
            while True:
                self.take()
                await trio.sleep(MOMENT_SECONDS)

    def take(self) -> None:
        """This is the moment."""
        try:
            own = tuple(self._samples())
        except Exception as error:  # a fault of ours in counting must not end what is counted
            self._fault.holds(f"the numbers for Prometheus could not be taken ({type(error).__name__})")
            own = ()
        else:
            self._fault.over("the numbers for Prometheus can be taken again")
        self._set(own)

    def _set(self, own: tuple[Sample, ...]) -> None:
        up = trio.current_time() - self._began
        self._taken = (*of_process(self._kind, up, self._lag.take()), *own)
        self._text = b""

    def text(self) -> bytes:
        """The numbers as text, written when first asked for."""
        if not self._text:
            self._text = text(self._taken, self._rounding)
        return self._text


def app(moment: Moment, why_not_well: Callable[[], str] | None, *, names: bool) -> Starlette:
    """The ASGI application. `why_not_well()`: a sentence, or empty; None for a program without a health.
    `names`: whether requests for a name are answered, and not only those for an address."""

    async def metrics(request: Request) -> Response:
        if not names and not _for_an_address(request):
            return PlainTextResponse("Ask for an address, not for a name.\n", 403, headers=_HEADERS)
        return Response(moment.text(), headers={**_HEADERS, "Content-Type": CONTENT_TYPE})

    async def health(request: Request) -> Response:
        return health_answer("" if why_not_well is None else why_not_well())

    routes = [Route("/metrics", metrics, methods=["GET"])]
    if why_not_well is not None:
        routes.append(Route("/health", health, methods=["GET"]))
    made = Starlette(routes=routes)
    made.router.redirect_slashes = False
    return made


def health_answer(why: str) -> Response:
    """200 and a word, or 503 and why."""
    return PlainTextResponse(f"{why or 'ok'}\n", 503 if why else 200, headers=_HEADERS)


async def serve(
    listener: socket.socket,
    kind: str,
    samples: Callable[[], Iterable[Sample]],
    why_not_well: Callable[[], str] | None,
) -> None:
    """Answer on a listening socket until cancelled."""
    moment = Moment(kind, samples, Chance(os.urandom))
    application = app(moment, why_not_well, names=not is_loopback(listener.getsockname()[0]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(moment.run)
        await serve_http(application, listener, wall=Clock().wall, limits=LIMITS)


def _for_an_address(request: Request) -> bool:
    """Whether the request's Host is an address, or localhost."""
    try:
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return False
    return is_loopback(host)
