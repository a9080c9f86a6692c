"""One post as a program reads it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from onionshh.client.board.post import Post, shown
from onionshh.client.board.store import KeptPost
from onionshh.core.board.lines import Arrived

ARRIVED = Arrived(b"a" * 32, 7, b"p" * 16, 1_790_000_040, b"hello", missing=2, late=True)


def test_a_post_of_an_author() -> None:
    post = shown(KeptPost(12, ARRIVED, 1_790_003_600), "0011223344556677")
    assert post == Post(
        id="70" * 16,
        body=b"hello",
        author="61" * 32,
        number=7,
        missing=2,
        late=True,
        posted_at=1_790_000_040,
        expires=1_790_003_600,
        cursor="0011223344556677-12",
    )
    assert "hello" not in repr(post)
    with pytest.raises(FrozenInstanceError):
        post.number = 8  # type: ignore[misc]


def test_a_post_without_an_author_on_a_board_without_a_name() -> None:
    post = shown(KeptPost(1, Arrived(b"k" * 32, 0, b"p" * 16, 60, b""), 600), "")
    assert (post.author, post.number, post.cursor, post.body) == (None, 0, "", b"")
