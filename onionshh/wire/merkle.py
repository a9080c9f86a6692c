"""A Merkle tree over rows that have weights, split as RFC 6962 does (SPEC 8).

    leaf   SHA3-256(0x00 ‖ weight u64 ‖ row)
    node   SHA3-256(0x01 ‖ left ‖ right ‖ weight left u64 ‖ weight right u64)

A node's weight is the sum of the two below it. Nodes are paired level by level; an odd last node goes up
unchanged. This gives the same tree as RFC 6962's split at the largest power of two, without recursion.

The consensus holds the root, so a later version can show a node one row with its proof. The proof carries the
neighbours' weights. So it also shows where the row lies: how much weight is before it, and how much there is
in all. A node that drew a number below the whole weight can check that it was given the row at that number.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from onionshh.errors import ProtocolError
from onionshh.geometry import HASH
from onionshh.reasons import Reason

_LEAF = b"\x00"
_NODE = b"\x01"
_WEIGHT = struct.Struct(">Q")
_WEIGHTS = struct.Struct(">QQ")
MOST_STEPS = 64
MOST_WEIGHT = 2**64 - 1


class Leaf(NamedTuple):
    """A row as it is hashed, and its weight, 0 to `MOST_WEIGHT` for all rows together."""

    row: bytes
    weight: int


class Node(NamedTuple):
    """A leaf or node of the tree: its hash, 32 bytes, and the weight of all rows below it. A proof is some of
    these."""

    hash: bytes
    weight: int


class Place(NamedTuple):
    """Where a row lies: the weight of the rows before it, and that of all rows."""

    before: int
    whole: int


def leaf_hash(leaf: Leaf) -> bytes:
    """The hash of one row with its weight, 32 bytes."""
    return hashlib.sha3_256(_LEAF + _WEIGHT.pack(leaf.weight) + leaf.row).digest()


def root(leaves: Iterable[Leaf]) -> bytes:
    """The root over the rows in their order, 32 bytes. Without rows it is the hash of no bytes."""
    level = _bottom(leaves)
    if not level:
        return hashlib.sha3_256(b"").digest()
    while len(level) > 1:
        level = _up(level)
    return level[0].hash


def proof(leaves: Sequence[Leaf], index: int) -> tuple[Node, ...]:
    """The neighbours on the way up from row `index` to the root. Raises IndexError."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"no row {index} among {len(leaves)}")
    level = _bottom(leaves)
    steps = []
    while len(level) > 1:
        neighbour = index ^ 1
        if neighbour < len(level):
            steps.append(level[neighbour])
        level = _up(level)
        index //= 2
    return tuple(steps)


def check_untrusted(leaf: Leaf, index: int, count: int, steps: Sequence[Node], expected: bytes) -> Place:
    """Where the row lies. ProtocolError unless `leaf` is number `index` of the `count` rows under the root
    `expected`."""
    if not 0 <= index < count or len(steps) > MOST_STEPS or any(len(step.hash) != HASH for step in steps):
        raise ProtocolError(Reason.MERKLE_SHAPE)
    weights = [leaf.weight, *(step.weight for step in steps)]
    if min(weights) < 0 or sum(weights) > MOST_WEIGHT:
        raise ProtocolError(Reason.MERKLE_SHAPE)
    node, before = Node(leaf_hash(leaf), leaf.weight), 0
    left = iter(steps)
    while count > 1:
        if index ^ 1 < count:
            step = next(left, None)
            if step is None:
                raise ProtocolError(Reason.MERKLE_SHAPE)
            if index & 1:
                before += step.weight
                node = _pair(step, node)
            else:
                node = _pair(node, step)
        index //= 2
        count = (count + 1) // 2
    if next(left, None) is not None:
        raise ProtocolError(Reason.MERKLE_SHAPE)
    if node.hash != expected:  # public values: constant time is not needed
        raise ProtocolError(Reason.MERKLE_ROOT)
    return Place(before, node.weight)


def _bottom(leaves: Iterable[Leaf]) -> list[Node]:
    return [Node(leaf_hash(leaf), leaf.weight) for leaf in leaves]


def _pair(left: Node, right: Node) -> Node:
    hashed = _NODE + left.hash + right.hash + _WEIGHTS.pack(left.weight, right.weight)
    return Node(hashlib.sha3_256(hashed).digest(), left.weight + right.weight)


def _up(level: list[Node]) -> list[Node]:
    pairs = [_pair(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    if len(level) % 2:
        pairs.append(level[-1])
    return pairs
