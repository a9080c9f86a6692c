"""What became of one whisper, told once: in lines for a person, or as the one object of `whisper --json`.

The reply goes to stdout byte by byte, and remarks to stderr. Stdout may fail when the whisper has already
been delivered. That has an exit status of its own, so that nobody sends the whisper again because of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from onionshh.cli.bar import Bar, filled
from onionshh.cli.failures import FAILED
from onionshh.cli.lines import as_text
from onionshh.cli.storing import drawn, waiting_in_words
from onionshh.cli.talk import note, nothing_more_to_stdout
from onionshh.cli.text import one_line, printable
from onionshh.client.receipt import Receipt

UNWRITTEN = 3
"""Exit status: delivered, and the reply could not be written."""
GIVEN_UP = "given up, nothing more is sent"
GOES_ON = "it stays in the outbox, and goes on with the next run with --name"
MAYBE = "it may have arrived, nothing more is sent"
LEFT = "no receipt so far; the whisper is being left with relays, for when the endpoint returns."
AWAY = "the endpoint gets it when it returns, unless its TTL ends before"
SEEN_LATER = "the next run with this --name sees the receipt"
NOT_SEEN = "without --name nobody waits for the receipt"


class Teller:
    """Tells what became of one whisper. `wait_seconds`: how long we wait for the reply, 0 for not at all.
    `named`: whether the contact has a name, so that a whisper that is not delivered stays in its outbox."""

    def __init__(self, privacy: str, wait_seconds: float, *, as_json: bool, named: bool = False) -> None:
        self._privacy = privacy
        self._wait_seconds = wait_seconds
        self.as_json = as_json
        self._named = named
        self._bar = Bar()
        self._left = False
        """Whether it was said that the whisper is being left with relays."""
        self.is_told = False

    def meanwhile(self, line: str) -> None:
        """Say what a person who waits should know. A program waits for the object."""
        if not self.as_json:
            note(line)

    def storing(self, receipt: Receipt, usual: int) -> None:
        """Show how far it is with leaving the whisper at relays. `usual`: as in `drawn`."""
        far = None if self.as_json or not usual else drawn(receipt, usual)
        if far is None:
            return
        if not self._left:
            self._left = True
            self.meanwhile(LEFT)
        share, words = far
        self._bar.show(f"{filled(share)} {words}")

    def nothing_was_sent(self) -> None:
        """A signal ended the command before there was a whisper to tell of."""
        self.is_told = True
        sentence = "interrupted before the whisper was sent."
        note(sentence)
        if self.as_json:
            print(json.dumps({"error": sentence}), flush=True)

    def tell(self, receipt: Receipt, why: str, *, interrupted: bool = False) -> int:
        """Tell everything. `why`: why it was not delivered, if it was not. Returns the exit status."""
        self.is_told = True
        self._bar.clear()
        status, why = _at_the_end(receipt, why, named=self._named)
        if not self.as_json:
            note(self._sentence(receipt, status, why, waited=bool(self._wait_seconds) and not interrupted))
        try:
            self._write(receipt, status, why)
        except OSError as error:
            if status != "delivered":
                raise
            nothing_more_to_stdout()
            note(
                f"stdout cannot be written: {error.strerror}. The whisper was delivered; its reply, if one"
                " came, is lost. Do not send it again for that."
            )
            return UNWRITTEN
        sent_for_good = receipt.is_final and status == "sent"
        return 0 if status in ("delivered", "stored") or sent_for_good else FAILED

    def kept(self, receipt: Receipt) -> int:
        """The whisper is in the outbox, and this run does not wait for it. Returns the exit status."""
        self.is_told = True
        if self.as_json:
            print(json.dumps(self._as_object(receipt, "queued", GOES_ON)), flush=True)
        else:
            note(f"accepted: {GOES_ON}.")
        return 0

    def said(self, in_reply_to: str, body: bytes) -> None:
        """The endpoint said something first, or replied to an earlier whisper."""
        if self.as_json:
            told: dict[str, object] = {"event": "said", "in_reply_to": in_reply_to or None}
            print(json.dumps(told | as_text("body", body)), flush=True)
        else:
            about = "a reply to an earlier whisper" if in_reply_to else "the endpoint said"
            note(f"{about}: {printable(body)}")

    def earlier(self, receipt: Receipt) -> None:
        """What became of a whisper of an earlier run."""
        status, why = receipt.status, receipt.why if receipt.is_final else ""
        if self.as_json:
            told = {
                "event": "earlier",
                "id": receipt.id,
                "status": status,
                "why": one_line(why),
                "copies": receipt.copies[0],
            }
            print(json.dumps(told), flush=True)
        elif status == "delivered":
            note("a whisper of an earlier run was delivered.")
        elif receipt.is_final and status != "sent":
            note(f"a whisper of an earlier run was not delivered ({status}): {why}.")

    def waiting(self, earlier: Sequence[Receipt]) -> None:
        """These whispers of earlier runs wait on."""
        if earlier and not self.as_json:
            stored = [receipt.copies[0] for receipt in earlier if receipt.status == "stored"]
            note(f"still waiting from earlier runs: {waiting_in_words(len(earlier), stored)}.")

    def _sentence(self, receipt: Receipt, status: str, why: str, *, waited: bool) -> str:
        if status == "delivered":
            missing = "; no reply came" if waited and receipt.reply_body is None else ""
            if receipt.hops is None:
                return f"delivered: the endpoint took it from its inbox{missing}."
            how = ", the session resumed" if receipt.resumed else ""
            return f"delivered over {receipt.hops} hops{how}{_timing(receipt)}{missing}."
        if receipt.is_final and status == "sent":
            if receipt.copies[0]:
                return f"{_stored(receipt)}. No receipt comes for it; {AWAY}."
            return f"sent over {receipt.hops} hops; no receipt comes for it, so it may have arrived."
        if status == "stored":
            return f"{_stored(receipt)}. {why[:1].upper()}{why[1:]}."
        return f"{'sent without a receipt' if status == 'sent' else f'not delivered ({status})'}: {why}."

    def _write(self, receipt: Receipt, status: str, why: str) -> None:
        if self.as_json:
            print(json.dumps(self._as_object(receipt, status, why)), flush=True)
        elif receipt.reply_body is not None:
            _print_reply(receipt.reply_body)

    def _as_object(self, receipt: Receipt, status: str, why: str) -> dict[str, object]:
        found: dict[str, object] = {
            "status": status,
            "why": why,
            "id": receipt.id,
            "hops": receipt.hops,
            "class": self._privacy,
            "connect_seconds": _rounded(receipt.connect_seconds),
            "round_trip_seconds": _rounded(receipt.round_trip_seconds),
            "resumed": receipt.resumed,
            "copies": receipt.copies[0],
            "proof_seconds": _rounded(receipt.proof_seconds),
            "paths": [{"hops": path.hops, "relays": list(path.relays)} for path in receipt.paths],
        }
        reply = receipt.reply_body
        return found | ({"reply": None} if reply is None else as_text("reply", reply))


def _at_the_end(receipt: Receipt, why: str, *, named: bool) -> tuple[str, str]:
    """The status, and why. When this command ends, every try ends. What has a name stays in its outbox."""
    if receipt.status == "delivered":
        return receipt.status, ""
    if receipt.is_final:
        return receipt.status, one_line(why)
    if receipt.status == "stored":
        return receipt.status, f"{AWAY}; {SEEN_LATER if named else NOT_SEEN}"
    if named:
        return receipt.status, f"{one_line(why)}; {GOES_ON}"
    if receipt.copies[0]:
        return "sent", f"{one_line(why)}; {_copies(receipt)}, so {MAYBE}"
    status, then = ("sent", MAYBE) if receipt.status == "sent" else ("failed", GIVEN_UP)
    return status, f"{one_line(why)}; {then}"


def _copies(receipt: Receipt) -> str:
    have, wanted = receipt.copies
    return f"{have} of {wanted} copies"


def _stored(receipt: Receipt) -> str:
    cost = f"; the proof of work took {receipt.proof_seconds:.1f} s" if receipt.proof_tries else ""
    return f"stored, {_copies(receipt)}{cost}"


def _print_reply(reply: bytes) -> None:
    if sys.stdout is None:  # our parent process closed it
        return
    if sys.stdout.isatty():
        print(printable(reply), flush=True)
    else:
        sys.stdout.buffer.write(reply)
        sys.stdout.buffer.flush()


def _timing(receipt: Receipt) -> str:
    if receipt.connect_seconds is None or receipt.round_trip_seconds is None:
        return ""
    return f", connected in {receipt.connect_seconds:.2f} s, receipt after {receipt.round_trip_seconds:.2f} s"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
