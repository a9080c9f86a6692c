"""The mailboxes that an endpoint writes to in a session."""

from __future__ import annotations

from onionshh.client.hosting.pair_mail import names
from onionshh.core.mailbox.pair import FROM_ENDPOINT, FROM_VISITOR, pair_mailbox
from onionshh.core.session.session import MAIL_AHEAD_MOST, Session


def test_they_are_those_of_all_periods_that_the_session_has_keys_for() -> None:
    session = Session.started(b"r" * 32, introduced=False, period=20, wall=0)
    found = names(session)
    assert len(found) == MAIL_AHEAD_MOST + 1
    key = session.mail.key_of(22)
    assert key is not None
    assert pair_mailbox(key, FROM_ENDPOINT, 22).name in found
    assert pair_mailbox(key, FROM_VISITOR, 22).name not in found
