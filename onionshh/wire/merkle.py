"""A Merkle tree over rows, split as RFC 6962 does (SPEC 8).

A leaf is SHA3-256(0 ‖ row), a node is SHA3-256(1 ‖ left ‖ right). Nodes are paired level by level; an odd
last node goes up unchanged. This gives the same tree as RFC 6962's split at the largest power of two, without
recursion. The consensus holds the root, so a later version can show a node one row with its proof.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from onionshh.errors import ProtocolError
from onionshh.geometry import HASH
from onionshh.reasons import Reason

_LEAF = b"\x00"
_NODE = b"\x01"
MOST_STEPS = 64


def leaf_hash(row: bytes) -> bytes:
    """The hash of one row, 32 bytes."""
    return hashlib.sha3_256(_LEAF + row).digest()


def root(rows: Iterable[bytes]) -> bytes:
    """The root over the rows in their order, 32 bytes. Without rows it is the hash of no bytes."""
    level = [leaf_hash(row) for row in rows]
    if not level:
        return hashlib.sha3_256(b"").digest()
    while len(level) > 1:
        level = _up(level)
    return level[0]


def proof(rows: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The neighbours' hashes on the way up from row `index` to the root. Raises IndexError."""
    if not 0 <= index < len(rows):
        raise IndexError(f"no row {index} among {len(rows)}")
    level = [leaf_hash(row) for row in rows]
    steps = []
    while len(level) > 1:
        neighbour = index ^ 1
        if neighbour < len(level):
            steps.append(level[neighbour])
        level = _up(level)
        index //= 2
    return tuple(steps)


def check_untrusted(row: bytes, index: int, count: int, steps: Sequence[bytes], expected: bytes) -> None:
    """ProtocolError unless `row` is number `index` of the `count` rows under the root `expected`."""
    if not 0 <= index < count or len(steps) > MOST_STEPS or any(len(step) != HASH for step in steps):
        raise ProtocolError(Reason.MERKLE_SHAPE)
    node = leaf_hash(row)
    left = iter(steps)
    while count > 1:
        if index ^ 1 < count:
            step = next(left, None)
            if step is None:
                raise ProtocolError(Reason.MERKLE_SHAPE)
            node = _pair(step, node) if index & 1 else _pair(node, step)
        index //= 2
        count = (count + 1) // 2
    if next(left, None) is not None:
        raise ProtocolError(Reason.MERKLE_SHAPE)
    if node != expected:  # public values: constant time is not needed
        raise ProtocolError(Reason.MERKLE_ROOT)


def _pair(left: bytes, right: bytes) -> bytes:
    return hashlib.sha3_256(_NODE + left + right).digest()


def _up(level: list[bytes]) -> list[bytes]:
    pairs = [_pair(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    if len(level) % 2:
        pairs.append(level[-1])
    return pairs
