"""Two who share a secret find each other on a board of their own, and agree on a session (SPEC 14).

Both say hello, in posts without an author on the board of KDF("meet", secret). The one with the higher
instance answers the hello of the other. So two instances have one session.

```
hello 1 264   = instance 16 ‖ X 32 ‖ EK 1 184 ‖ MAC 32
answer 1 192  = instance 16 ‖ instance answered 16 ‖ period u64 ‖ Y 32 ‖ CT 1 088 ‖ MAC 32
MAC of hello  = KDF("meet hello", secret, all before it)
MAC of answer = KDF("meet answer", secret, the hello, all before it)
root          = KDF("meet root", secret, X25519, ML-KEM, the hello, the answer)
```

`period` is the one whose mailbox key the session begins with. The lower instance plays the part of the
visitor. Whoever knows the secret can say hello, too: a secret proves that the other one knows it, and nothing
else.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from onionshh import geometry as g
from onionshh.core.board.topic import Topic
from onionshh.crypto.primitives import equal, kdf
from onionshh.crypto.refresh import ANSWER, OFFER, Offer, respond_untrusted
from onionshh.errors import ProtocolError
from onionshh.ids import RandomBytes
from onionshh.reasons import Reason

INSTANCE: Final = 16
HELLO: Final = INSTANCE + OFFER + g.MAC
REPLY: Final = 2 * INSTANCE + 8 + ANSWER + g.MAC
PERIOD_MOST: Final = 2**63 - 1
_ANSWER_HEAD: Final = struct.Struct(f">{INSTANCE}s{INSTANCE}sQ")


def meeting_topic(secret: bytes) -> Topic:
    """The board where those who share this secret meet."""
    return Topic(kdf("meet", secret))


@dataclass(frozen=True, slots=True)
class Hello:
    """`offer`: X 32 ‖ EK 1 184. `encoded`: all of it."""

    instance: bytes
    offer: bytes = field(repr=False)
    encoded: bytes = field(repr=False)

    @classmethod
    def of(cls, secret: bytes, instance: bytes, offer: bytes) -> Hello:
        """What this instance says."""
        said = instance + offer
        return cls(instance, offer, said + kdf("meet hello", secret, said))

    @classmethod
    def decode_untrusted(cls, secret: bytes, body: bytes) -> Hello:
        """The hello in a post. ProtocolError."""
        if len(body) != HELLO:
            raise ProtocolError(Reason.MEETING_SHAPE)
        said, mac = body[: -g.MAC], body[-g.MAC :]
        if not equal(mac, kdf("meet hello", secret, said)):
            raise ProtocolError(Reason.MEETING_SHAPE)
        return cls(said[:INSTANCE], said[INSTANCE:], body)


@dataclass(frozen=True, slots=True)
class Agreed:
    """What both have from a hello and its answer. `instance`: who answered. `root`: that of the session.
    `period`: the one that the session begins in."""

    instance: bytes
    root: bytes = field(repr=False)
    period: int


def answers(ours: bytes, theirs: bytes) -> bool:
    """Whether we answer a hello of theirs. Both are instances."""
    return ours > theirs


def answer_untrusted(
    secret: bytes, hello: Hello, instance: bytes, period: int, random_bytes: RandomBytes
) -> tuple[bytes, Agreed]:
    """The answer of this instance to a hello, and what it leads to. ProtocolError for a key that is none."""
    said, curve, kem = respond_untrusted(hello.offer, random_bytes)
    head = _ANSWER_HEAD.pack(instance, hello.instance, period) + said
    body = head + kdf("meet answer", secret, hello.encoded, head)
    return body, Agreed(instance, _root(secret, curve, kem, hello, body), period)


def is_answer_to(body: bytes, instance: bytes) -> bool:
    """Whether a post has the form of an answer to a hello of this instance."""
    return len(body) == REPLY and body[INSTANCE : 2 * INSTANCE] == instance


def agreed_untrusted(secret: bytes, hello: Hello, offer: Offer, body: bytes) -> Agreed:
    """What an answer to our hello leads to. `offer`: what the hello offers. ProtocolError."""
    if not is_answer_to(body, hello.instance):
        raise ProtocolError(Reason.MEETING_SHAPE)
    head, mac = body[: -g.MAC], body[-g.MAC :]
    instance, _, period = _ANSWER_HEAD.unpack_from(head)
    right = equal(mac, kdf("meet answer", secret, hello.encoded, head))
    if not right or not answers(instance, hello.instance) or period > PERIOD_MOST:
        raise ProtocolError(Reason.MEETING_SHAPE)
    curve, kem = offer.finish_untrusted(head[_ANSWER_HEAD.size :])
    return Agreed(instance, _root(secret, curve, kem, hello, body), period)


def _root(secret: bytes, curve: bytes, kem: bytes, hello: Hello, answer: bytes) -> bytes:
    return kdf("meet root", secret, curve, kem, hello.encoded, answer)
