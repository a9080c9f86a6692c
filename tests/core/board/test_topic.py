"""The topic of a board: a secret or a name, and the mailboxes and authors that follow from it (SPEC 14)."""

from __future__ import annotations

import unicodedata

import pytest

from onionshh.core.board.topic import NAME_MOST, Topic
from onionshh.crypto.ed25519 import SigningKey
from onionshh.crypto.identity import IdentityKeys
from onionshh.crypto.primitives import kdf
from onionshh.wire.mailbox import BOARD, Mailbox
from tests.seeded import seeded

SECRET = bytes(range(32))


def test_each_period_has_a_mailbox_of_its_own() -> None:
    topic = Topic.of(SECRET)
    assert topic.secret == SECRET
    assert topic.key(20_000).seed == kdf("board", SECRET, (20_000).to_bytes(8, "big"))
    assert topic.mailbox(20_000) == Mailbox(BOARD, topic.key(20_000).public, 20_000)
    topics = (topic, Topic.of(b"t" * 32), Topic.of("chess"))
    names = {one.mailbox(period).name for one in topics for period in (0, 20_000, 20_001)}
    assert len(names) == 9


def test_a_name_is_a_secret_that_everyone_can_make() -> None:
    assert Topic.of("chess").secret == kdf("topic", b"chess")
    assert Topic.of("chess") == Topic.of("chess")
    assert Topic.of("chess") != Topic.of("Chess")
    assert Topic.of("a" * 32) != Topic.of(b"a" * 32)


def test_two_ways_to_write_a_letter_are_one_name() -> None:
    short, long = (unicodedata.normalize(form, "Café Zürich") for form in ("NFC", "NFD"))
    assert short != long
    assert Topic.of(short) == Topic.of(long) == Topic(kdf("topic", short.encode()))
    at_most = unicodedata.normalize("NFD", "é" * NAME_MOST)
    assert len(at_most) == 2 * NAME_MOST
    assert Topic.of(at_most) == Topic.of("é" * NAME_MOST)


@pytest.mark.parametrize("name", ["a", "two words", "x" * NAME_MOST, "日本", "-", "ﬁ"])
def test_a_name_may_have_any_printable_characters(name: str) -> None:
    assert len(Topic.of(name).secret) == 32


@pytest.mark.parametrize(
    "name", ["", " ", " a", "a ", "a\n", "a\tb", "\0", "a\u200b", "\u3000a", "x" * (NAME_MOST + 1), "\ud800"]
)
def test_no_other_name_is_taken(name: str) -> None:
    with pytest.raises(ValueError, match="The name of a topic is 1 to 256 printable characters"):
        Topic.of(name)


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(33)])
def test_a_secret_of_another_length_is_none(secret: bytes) -> None:
    with pytest.raises(ValueError, match=f"has 32 bytes; this one has {len(secret)}"):
        Topic.of(secret)


@pytest.mark.parametrize("wrong", [None, 5, bytearray(32), ["chess"]])
def test_a_topic_is_text_or_bytes(wrong: object) -> None:
    with pytest.raises(TypeError, match="A topic is text or 32 bytes, not "):
        Topic.of(wrong)  # type: ignore[arg-type]


def test_the_secret_is_not_shown() -> None:
    assert repr(Topic.of(SECRET)) == "Topic()"


def test_an_identity_has_another_author_on_each_board() -> None:
    identities = [IdentityKeys.generate(seeded(n)) for n in (1, 2)]
    topics = [Topic.of(SECRET), Topic.of("chess")]
    keys = {one.author_key(topic.secret).public for one in identities for topic in topics}
    assert len(keys) == 4
    again = IdentityKeys.generate(seeded(1)).author_key(SECRET)
    assert again.public == identities[0].author_key(SECRET).public
    assert isinstance(again, SigningKey)
    assert not keys & {one.A for one in identities}
