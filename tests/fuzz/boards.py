"""Boards and meetings: entries, hellos and answers, from those who know the secret and those who do not."""

from __future__ import annotations

from onionshh import geometry as g
from onionshh.core.board.entry import PARTS_MOST, Entry, open_entry_untrusted, seal_entry
from onionshh.core.board.topic import Topic
from onionshh.core.mailbox.value import open_value_untrusted, seal_value
from onionshh.core.meeting.hello import Hello, agreed_untrusted, answer_untrusted
from onionshh.crypto.ed25519 import SigningKey
from onionshh.crypto.primitives import kdf
from onionshh.crypto.refresh import ANSWER, OFFER, SEED, Offer
from tests.fuzz.target import Left, Script, Target
from tests.seeded import seeded

# Entries.

_TOPIC = Topic(seeded(1)(g.KEY))
_BOX = _TOPIC.mailbox(20_000)
_ITEM = SigningKey(seeded(2)(g.KEY)).public
_AUTHOR = SigningKey(seeded(3)(g.KEY))
_ENTRIES = (
    Entry(_AUTHOR.public, 0, 28_800_000, seeded(4)(g.POST_ID), 0, 1, b""),
    Entry(_AUTHOR.public, 7, 28_800_000, seeded(5)(g.POST_ID), 0, 2, bytes(g.BOARD_CHUNK)),
    Entry(_AUTHOR.public, 2**32 - 1, 1, seeded(6)(g.POST_ID), PARTS_MOST - 1, PARTS_MOST, b"the end"),
)


def _entry(signed: bytes) -> None:
    entry = Entry.decode_untrusted(signed)
    if entry.encode() != signed:
        raise Left("an entry was read that no encoder makes")


def _entry_sealed(data: bytes) -> None:
    """Any plaintext at all, from somebody who knows the topic."""
    plain = data[: g.BOARD_SIGNED + g.SIGNATURE].ljust(g.BOARD_SIGNED + g.SIGNATURE, b"\0")
    open_entry_untrusted(_TOPIC, _BOX, _ITEM, seal_value(_TOPIC.secret, _BOX, _ITEM, plain, seeded(7)))


_VALUES = tuple(seal_entry(_TOPIC, _BOX, _ITEM, _AUTHOR, entry, seeded(8)) for entry in _ENTRIES)
_PLAINS = tuple(open_value_untrusted(_TOPIC.secret, _BOX, _ITEM, value) for value in _VALUES)

# Hellos and their answers.

_SECRET, _LOW, _HIGH = seeded(9)(g.KEY), b"\1" * 16, b"\2" * 16
_OFFER = Offer.of_seed(seeded(10)(SEED))
_HELLO = Hello.of(_SECRET, _LOW, _OFFER.public)
_ANSWER = answer_untrusted(_SECRET, _HELLO, _HIGH, 20_000, seeded(11))[0]


def _hello(body: bytes) -> None:
    hello = Hello.decode_untrusted(_SECRET, body)
    if Hello.of(_SECRET, hello.instance, hello.offer) != hello:
        raise Left("a hello was read that no encoder makes")


def _answered(data: bytes) -> None:
    """A hello with any keys at all, from somebody who knows the secret, is answered."""
    script = Script(data)
    instance = script.take(len(_LOW)).ljust(len(_LOW), b"\0")
    hello = Hello.of(_SECRET, instance, script.take(OFFER).ljust(OFFER, b"\0"))
    body, agreed = answer_untrusted(_SECRET, hello, _HIGH, script.number(8), seeded(12))
    if len(body) != len(_ANSWER) or len(agreed.root) != g.KEY:
        raise Left("an answer was made that nobody reads")


def _agreed_signed(data: bytes) -> None:
    """An answer that says anything, from somebody who knows the secret."""
    size = 2 * len(_LOW) + 8 + ANSWER
    head = data[:size].ljust(size, b"\0")
    agreed_untrusted(_SECRET, _HELLO, _OFFER, head + kdf("meet answer", _SECRET, _HELLO.encoded, head))


BOARDS = (
    Target(
        "core.mailbox.value.open_value_untrusted",
        lambda data: open_value_untrusted(_TOPIC.secret, _BOX, _ITEM, data),
        _VALUES,
    ),
    Target("core.board.entry.Entry.decode_untrusted", _entry, tuple(one.encode() for one in _ENTRIES)),
    Target(
        "core.board.entry.open_entry_untrusted",
        lambda data: open_entry_untrusted(_TOPIC, _BOX, _ITEM, data),
        _VALUES,
    ),
    Target("core.board.entry.open_entry_untrusted:sealed", _entry_sealed, _PLAINS),
    Target("core.meeting.hello.Hello.decode_untrusted", _hello, (_HELLO.encoded,)),
    Target(
        "core.meeting.hello.answer_untrusted",
        _answered,
        (_LOW + _OFFER.public + (20_000).to_bytes(8, "big"),),
    ),
    Target(
        "core.meeting.hello.agreed_untrusted",
        lambda data: agreed_untrusted(_SECRET, _HELLO, _OFFER, data),
        (_ANSWER,),
    ),
    Target("core.meeting.hello.agreed_untrusted:signed", _agreed_signed, (_ANSWER[: -g.MAC],)),
)
"""One target for each, in the order of the layers."""
