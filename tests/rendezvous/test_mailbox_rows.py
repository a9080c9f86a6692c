from __future__ import annotations

from onionshh.rendezvous.mailbox_rows import Held, Keep
from tests.rendezvous.mailbox_world import INBOX


def held(**changes: object) -> Held:
    plain: dict[str, object] = {
        "serial": 1,
        "mailbox": INBOX,
        "item_id": b"i" * 32,
        "number": 7,
        "expires": 100,
        "revision": 0,
        "signature": b"s" * 64,
        "digest": b"d" * 32,
    }
    return Held(**{**plain, **changes})  # type: ignore[arg-type]


def test_an_item_without_a_digest_was_erased() -> None:
    assert not held().is_erased
    assert held(digest=b"").is_erased


def test_no_log_line_shows_whose_it_is_or_what_it_holds() -> None:
    shown = repr(Keep(held(), b"value"))
    assert "serial=1" in shown
    for secret in ("iii", "sss", "ddd", "value=", INBOX.name.hex(), repr(INBOX.name)):
        assert secret not in shown
