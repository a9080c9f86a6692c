"""The Merkle tree over weighted rows: its shape is RFC 6962's, and every row proves itself alone."""

from __future__ import annotations

import hashlib

import pytest

from onionshh.errors import ProtocolError
from onionshh.reasons import Reason
from onionshh.wire import merkle
from onionshh.wire.merkle import Leaf, Node


def rows(count: int) -> list[Leaf]:
    return [Leaf(b"row %d" % i, 10**i % 1009) for i in range(count)]


def u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def whole(items: list[Leaf]) -> int:
    return sum(leaf.weight for leaf in items)


def rfc6962(items: list[Leaf]) -> bytes:
    """The definition as the RFC gives it, with weights: recursive, split at the largest power of two below
    the size."""
    if not items:
        return hashlib.sha3_256(b"").digest()
    if len(items) == 1:
        return hashlib.sha3_256(b"\x00" + u64(items[0].weight) + items[0].row).digest()
    split = 1
    while split * 2 < len(items):
        split *= 2
    left, right = items[:split], items[split:]
    weights = u64(whole(left)) + u64(whole(right))
    return hashlib.sha3_256(b"\x01" + rfc6962(left) + rfc6962(right) + weights).digest()


def refused(leaf: Leaf, index: int, count: int, steps: tuple[Node, ...], root: bytes) -> str:
    with pytest.raises(ProtocolError) as caught:
        merkle.check_untrusted(leaf, index, count, steps, root)
    return caught.value.reason


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 33, 100])
def test_root_is_that_of_rfc_6962(count: int) -> None:
    assert merkle.root(rows(count)) == rfc6962(rows(count))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13])
def test_every_row_proves_itself_and_nothing_else(count: int) -> None:
    items = rows(count)
    root = merkle.root(items)
    more = Node(bytes(32), 0)
    for index, leaf in enumerate(items):
        steps = merkle.proof(items, index)
        assert merkle.check_untrusted(leaf, index, count, steps, root) == (whole(items[:index]), whole(items))
        bad: list[tuple[Leaf, int, int, tuple[Node, ...]]] = [
            (Leaf(leaf.row + b"x", leaf.weight), index, count, steps),
            (Leaf(leaf.row, leaf.weight + 1), index, count, steps),
            (leaf, index, count, (*steps, more)),
            (leaf, count, count, steps),
            (leaf, -1, count, steps),
            (leaf, index, 0, steps),
            (leaf, index, count, tuple(Node(step.hash[:31], step.weight) for step in (*steps, more))),
        ]
        if steps:
            last = steps[-1]
            bad.append((leaf, index, count, steps[:-1]))
            bad.append((leaf, index, count, (*steps[:-1], Node(bytes(32), last.weight))))
            bad.append((leaf, (index + 1) % count, count, steps))
        for at, step in enumerate(steps):
            other = Node(step.hash, step.weight + 1)
            bad.append((leaf, index, count, (*steps[:at], other, *steps[at + 1 :])))
        for wrong in bad:
            refused(*wrong, root)


@pytest.mark.parametrize("weight", [-1, merkle.MOST_WEIGHT, 2**70])
def test_weights_that_no_tree_has(weight: int) -> None:
    """Together they are 0 to 2^64 - 1, whatever place the wrong one has."""
    items = rows(4)
    steps = merkle.proof(items, 0)
    root = merkle.root(items)
    assert refused(Leaf(items[0].row, weight), 0, 4, steps, root) == Reason.MERKLE_SHAPE
    for at, step in enumerate(steps):
        wrong = (*steps[:at], Node(step.hash, weight), *steps[at + 1 :])
        assert refused(items[0], 0, 4, wrong, root) == Reason.MERKLE_SHAPE


def test_an_inner_node_is_no_row() -> None:
    """Leaf and node hashes differ in their first byte, so a node's content cannot pass for a row."""
    items = rows(2)
    inner = (
        merkle.leaf_hash(items[0]) + merkle.leaf_hash(items[1]) + u64(items[0].weight) + u64(items[1].weight)
    )
    for row, weight in ((inner, whole(items)), (inner[8:], int.from_bytes(inner[:8], "big"))):
        assert refused(Leaf(row, weight), 0, 1, (), merkle.root(items)) == Reason.MERKLE_ROOT


def test_weight_cannot_be_moved_between_neighbours() -> None:
    """Two trees whose rows and whole weight are the same have different roots."""
    assert merkle.root([Leaf(b"a", 1), Leaf(b"b", 3)]) != merkle.root([Leaf(b"a", 2), Leaf(b"b", 2)])


def test_no_proof_for_a_row_that_is_not_there() -> None:
    with pytest.raises(IndexError):
        merkle.proof(rows(3), 3)
