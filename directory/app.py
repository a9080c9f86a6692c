"""What the directory says over HTTP (SPEC 8), as an ASGI application that needs no socket to be tested.

    POST /relay             a relay's signed descriptor; 202 at once, the check comes after
    GET  /relay/<id>        where a relay stands and why, JSON
    GET  /consensus         the signed document; any web server may mirror it
    GET  /relays            the listed relays, JSON
    GET  /health            200 and a word, or 503 and a sentence: why nobody should rely on it now
    GET  /                  the same for a person, with the relays that are not listed and why

A refusal is JSON with one sentence in `why` for the relay's operator. Nothing is decided here.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import aclosing
from html import escape

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from onionshh.config import format_network_file
from onionshh.core.base.words import utc
from onionshh.directory.authority import DirectoryAuthority
from onionshh.directory.registry import Answer, Verdict, status_of
from onionshh.errors import ProtocolError
from onionshh.geometry import KEY
from onionshh.wire.consensus import Consensus

BODY_MAX = 64 * 1024
UNLISTED_SHOWN = 200
PAGE_SECONDS = 10.0

_STATUS = {Verdict.ACCEPTED: 202, Verdict.FORBIDDEN: 403, Verdict.STALE: 409, Verdict.BUSY: 429}
_SAFE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .75rem .25rem 0;"
    "border-bottom:1px solid #ccc}code,pre{font:14px/1.5 ui-monospace,monospace}pre{overflow:auto}"
)


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
        ]
    )
    made.router.redirect_slashes = False  # a redirect would lead to wherever the Host header says
    return made


class _Handlers:
    """The routes. What depends on the consensus alone is made once per consensus, the page at most once in
    `PAGE_SECONDS`. Neither is made per request: all readers share its bytes, however slowly they read."""

    def __init__(self, authority: DirectoryAuthority) -> None:
        self._authority = authority
        self._made_for: Consensus | None = None
        self._etag = ""
        self._json = b""
        self._table = ""
        self._page = b""
        self._page_until = 0.0

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
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return PlainTextResponse(f"{why or 'ok'}\n", 503 if why else 200, headers=headers)

    async def page(self, request: Request) -> Response:
        now = self._authority.clock.monotonic()
        if not self._page or now >= self._page_until:
            page = self._make_page().encode()
            self._page = self._page if self._page == page else page
            self._page_until = now + PAGE_SECONDS
        return HTMLResponse(self._page, headers={**_SAFE, "Cache-Control": "no-cache"})

    def _make_page(self) -> str:
        consensus = self._refresh()
        unlisted = self._authority.unlisted()
        name, doubt = escape(consensus.network), self._authority.clock_doubt
        missing = "".join(
            f"<tr><td>{escape(entry.newest.nickname)}</td><td>{escape(entry.newest.address)}</td>"
            f"<td>{escape(status_of(entry).word)}</td><td>{escape(status_of(entry).why)}</td></tr>\n"
            for entry in unlisted[:UNLISTED_SHOWN]
        )
        return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{name}: relays</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>
<h1>{name}</h1>
<p>{len(consensus.relays)} relays listed, {len(unlisted)} known and not listed.
Consensus made {utc(consensus.valid_after)}, the next one due {utc(consensus.fresh_until)},
valid until {utc(consensus.valid_until)}.</p>
{f"<p><strong>{escape(doubt)}.</strong></p>" if doubt else ""}
<h2>Listed</h2>
<table><tr><th>Nickname</th><th>Address</th><th>Flags</th><th>Weight</th><th>Since</th><th>Software</th>
<th>Id</th></tr>
{self._table}</table>
<h2>Not listed, and why</h2>
<table><tr><th>Nickname</th><th>Address</th><th>Status</th><th>Why</th></tr>
{missing}</table>
<h2>To join</h2>
<p>Save this as <code>network.toml</code>. For programs: <a href="/relays">relays as JSON</a>,
<a href="/consensus">the signed consensus</a>.</p>
<pre>{escape(format_network_file(self._authority.network))}</pre>
</body></html>
"""

    def _refresh(self) -> Consensus:
        consensus = self._authority.consensus
        if consensus is None:
            raise RuntimeError("the authority has not started")
        if consensus is not self._made_for:
            rows = [row.as_dict() for row in consensus.relays]
            total = sum(row.weight for row in consensus.relays) or 1
            self._etag = f'"{hashlib.sha3_256(self._authority.document).hexdigest()[:32]}"'
            self._json = json.dumps(rows).encode()
            self._table = "".join(
                f"<tr><td>{escape(row.nickname)}</td><td>{escape(row.address)}</td>"
                f"<td>{' '.join(row.flag_names)}</td><td>{100 * row.weight / total:.1f} %</td>"
                f"<td>{utc(row.first_seen)}</td><td>{escape(row.software)}</td>"
                f"<td><code>{row.identity.hex()[:16]}…</code></td></tr>\n"
                for row in consensus.relays
            )
            self._made_for = consensus
        return consensus

    def _caching(self, consensus: Consensus) -> dict[str, str]:
        fresh = consensus.fresh_until - consensus.valid_after  # whatever the clock says
        seconds = min(max(0, consensus.fresh_until - self._authority.clock.wall()), fresh)
        return {"Cache-Control": f"public, max-age={seconds}", "X-Content-Type-Options": "nosniff"}


def _verdict(answer: Answer) -> Response:
    accepted = answer.verdict is Verdict.ACCEPTED
    return _answer(_STATUS[answer.verdict], "accepted" if accepted else "refused", answer.why)


def _answer(code: int, status: str, why: str) -> Response:
    return JSONResponse({"status": status, "why": why}, code, headers={"Cache-Control": "no-store"})
