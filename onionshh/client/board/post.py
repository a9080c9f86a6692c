"""One post as a program reads it from a board (SPEC 14)."""

from __future__ import annotations

from dataclasses import dataclass, field

from onionshh.client.board.store import KeptPost


@dataclass(frozen=True, slots=True)
class Post:
    """One post, as `Board.read` and the loop over a board give it.

    ```python
    import onionshh


    async def main(node: onionshh.Node) -> None:
        me = onionshh.Identity.generate()
        async with node.board("chess", author=me) as board:
            posting = await board.post(b"e4, and it is your turn", ttl_seconds=3600)
            await posting.stored()
            for post in await board.read():
                print(post.body, post.number, post.missing, post.late)  # b'e4, …' 1 0 False
                print(post.id == posting.id, len(post.author))  # True 64
                print(post.expires - post.posted_at <= 3660)  # True
    ```
    """

    id: str
    """32 hex digits, the same for all readers, and the same as `Posting.id`."""
    body: bytes = field(repr=False)
    """What was posted."""
    author: str | None
    """64 hex digits that stand for the author on this board, and nowhere else. None for a post without an
    author."""
    number: int
    """The author's posts are counted from 1. 0 without an author."""
    missing: int
    """How many posts of this author right before it did not come: they have expired, were taken back, or some
    relay hides them. Of those before the first one that you see, nothing is known: then it is 0. A board
    remembers the last numbers of 4 096 authors. Beyond that it forgets the one of whom it saw fewest posts,
    and the next one of that author counts as its first. So a crowd of new authors can hide a gap. Where that
    matters, compare `number` with what you have seen of an author."""
    late: bool
    """Whether later posts of this author were given before it, or one of the same number. Both happen when an
    author posts from two machines."""
    posted_at: int
    """When it was posted, as its author says: Unix seconds, a whole minute."""
    expires: int
    """When the relays erase it: Unix seconds. Its author may have changed that since."""
    cursor: str
    """For `Board.read(after=…)`. Empty where the board has no name."""


def shown(kept: KeptPost, tag: str) -> Post:
    """A post as the program sees it. `tag`: that of the board's folder."""
    post = kept.post
    return Post(
        id=post.post_id.hex(),
        body=post.body,
        author=post.author.hex() if post.number else None,
        number=post.number,
        missing=post.missing,
        late=post.late,
        posted_at=post.posted,
        expires=kept.expires,
        cursor=f"{tag}-{kept.seq}" if tag else "",
    )
