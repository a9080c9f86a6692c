"""What the directory says over HTTP (SPEC 8), as an ASGI application that needs no socket to be tested.

    POST /relay             a relay's signed descriptor; 202 at once, the check comes after
    GET  /relay/<id>        where a relay stands and why, JSON
    GET  /consensus         the signed document; any web server may mirror it
    GET  /relays            the listed relays, JSON
    GET  /unlisted          the relays that are known and not listed, and why, JSON
    GET  /health            200 and a word, or 503 and a sentence: why nobody should rely on it now
    GET  /                  all of this for a person (page.py)

A refusal is JSON with one sentence in `why` for the relay's operator. Nothing is decided here.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import aclosing

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from onionshh.config import format_network_file
from onionshh.directory.authority import DirectoryAuthority
from onionshh.directory.entry import NO_CHECKS, checks
from onionshh.directory.page import Facts, page
from onionshh.directory.page_style import POLICY
from onionshh.directory.registry import Answer, Verdict
from onionshh.errors import ProtocolError
from onionshh.geometry import KEY
from onionshh.wire.consensus import Consensus

BODY_MAX = 64 * 1024
UNLISTED_MOST = 1000
"""So many relays that are not listed are told to a program."""
PAGE_SECONDS = 10.0
_MINUTE = 60

_STATUS = {Verdict.ACCEPTED: 202, Verdict.FORBIDDEN: 403, Verdict.STALE: 409, Verdict.BUSY: 429}
_NO_SNIFFING = {"X-Content-Type-Options": "nosniff"}
_PAGE = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
    **_NO_SNIFFING,
}


def app(authority: DirectoryAuthority) -> Starlette:
    """The ASGI application of an authority that has published its first consensus."""
    handlers = _Handlers(authority)
    made = Starlette(
        routes=[
            Route("/", handlers.page, methods=["GET"]),
            Route("/relay", handlers.post_relay, methods=["POST"]),
            Route("/relay/{identity}", handlers.relay, methods=["GET"]),
            Route("/consensus", handlers.consensus, methods=["GET"]),
            Route("/relays", handlers.relays, methods=["GET"]),
            Route("/health", handlers.health, methods=["GET"]),
            Route("/unlisted", handlers.unlisted, methods=["GET"]),
        ]
    )
    made.router.redirect_slashes = False  # a redirect would lead to wherever the Host header says
    return made


class _Handlers:
    """The routes. What depends on the consensus alone is made once per consensus, the rest at most once in
    `PAGE_SECONDS`. Nothing is made per request: all readers share its bytes, however slowly they read."""

    def __init__(self, authority: DirectoryAuthority) -> None:
        self._authority = authority
        self._made_for: Consensus | None = None
        self._etag = ""
        self._json = b""
        self._page = b""
        self._unlisted = b""
        self._made_until = 0.0

    async def post_relay(self, request: Request) -> Response:
        body = bytearray()
        async with aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > BODY_MAX:
                    return _answer(413, "refused", f"a descriptor is never larger than {BODY_MAX} bytes")
        source = request.client.host if request.client is not None else ""
        try:
            answer = self._authority.submit_untrusted(bytes(body), source)
        except ProtocolError as error:
            return _answer(400, "refused", f"this is not a valid relay descriptor ({error.reason})")
        return _verdict(answer)

    async def relay(self, request: Request) -> Response:
        text = request.path_params["identity"]
        try:
            identity = bytes.fromhex(text)
        except ValueError:
            identity = b""
        if len(identity) != KEY:
            return _answer(400, "unknown", f"a relay's id is {2 * KEY} hexadecimal digits")
        told = self._authority.told(identity)
        return JSONResponse(told, 200 if told["known"] else 404, headers={"Cache-Control": "no-store"})

    async def consensus(self, request: Request) -> Response:
        consensus = self._refresh()
        headers = {**self._caching(consensus), "ETag": self._etag}
        if self._etag in [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
        return Response(self._authority.document, media_type="application/octet-stream", headers=headers)

    async def relays(self, request: Request) -> Response:
        consensus = self._refresh()
        return Response(self._json, media_type="application/json", headers=self._caching(consensus))

    async def health(self, request: Request) -> Response:
        why = self._authority.why_not_well()
        headers = {"Cache-Control": "no-store", **_NO_SNIFFING}
        return PlainTextResponse(f"{why or 'ok'}\n", 503 if why else 200, headers=headers)

    async def unlisted(self, request: Request) -> Response:
        self._make()
        headers = {"Cache-Control": "no-cache", **_NO_SNIFFING}
        return Response(self._unlisted, media_type="application/json", headers=headers)

    async def page(self, request: Request) -> Response:
        self._make()
        return HTMLResponse(self._page, headers=_PAGE)

    def _make(self) -> None:
        """Make anew what also changes between consensuses, unless that was done a moment ago. What is as
        before stays the same bytes. The page names whole minutes, so it seldom differs."""
        consensus, authority, now = self._refresh(), self._authority, self._authority.clock.monotonic()
        if self._page and now < self._made_until:
            return
        wall = authority.clock.wall()
        unlisted = [(entry, authority.status(entry.newest.identity)) for entry in authority.unlisted()]
        known = [authority.told(entry.newest.identity) for entry, _ in unlisted[:UNLISTED_MOST]]
        left_off = len(unlisted) - len(known)
        entries = {row.identity: authority.registry.entry(row.identity) for row in consensus.relays}
        facts = Facts(
            consensus=consensus,
            params=authority.params,
            entries={identity: entry for identity, entry in entries.items() if entry is not None},
            unlisted=unlisted,
            history=authority.history,
            network_file=format_network_file(authority.network),
            now=wall - wall % _MINUTE,
            doubt=authority.clock_doubt,
        )
        self._unlisted = _kept(self._unlisted, json.dumps({"relays": known, "left_off": left_off}))
        self._page = _kept(self._page, page(facts))
        self._made_until = now + PAGE_SECONDS

    def _refresh(self) -> Consensus:
        consensus = self._authority.consensus
        if consensus is None:
            raise RuntimeError("the authority has not started")
        if consensus is not self._made_for:
            rows = [row.as_dict() | self._checks(row.identity) for row in consensus.relays]
            self._etag = f'"{hashlib.sha3_256(self._authority.document).hexdigest()[:32]}"'
            self._json = json.dumps(rows).encode()
            self._made_for = consensus
        return consensus

    def _checks(self, identity: bytes) -> dict[str, object]:
        entry = self._authority.registry.entry(identity)
        return checks(entry, self._authority.clock.wall()) if entry is not None else dict(NO_CHECKS)

    def _caching(self, consensus: Consensus) -> dict[str, str]:
        fresh = consensus.fresh_until - consensus.valid_after  # whatever the clock says
        seconds = min(max(0, consensus.fresh_until - self._authority.clock.wall()), fresh)
        return {"Cache-Control": f"public, max-age={seconds}", **_NO_SNIFFING}


def _kept(before: bytes, text: str) -> bytes:
    """The text as bytes; those from before, if they are the same."""
    made = text.encode()
    return before if made == before else made


def _verdict(answer: Answer) -> Response:
    accepted = answer.verdict is Verdict.ACCEPTED
    return _answer(_STATUS[answer.verdict], "accepted" if accepted else "refused", answer.why)


def _answer(code: int, status: str, why: str) -> Response:
    return JSONResponse({"status": status, "why": why}, code, headers={"Cache-Control": "no-store"})
