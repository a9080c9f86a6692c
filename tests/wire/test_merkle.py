"""The Merkle tree over rows: its shape is RFC 6962's, and every row of every size proves itself alone."""

from __future__ import annotations

import hashlib

import pytest

from onionshh.errors import ProtocolError
from onionshh.wire import merkle


def rows(count: int) -> list[bytes]:
    return [b"row %d" % i for i in range(count)]


def rfc6962(items: list[bytes]) -> bytes:
    """The definition as the RFC gives it: recursive, split at the largest power of two below the size."""
    if not items:
        return hashlib.sha3_256(b"").digest()
    if len(items) == 1:
        return hashlib.sha3_256(b"\x00" + items[0]).digest()
    split = 1
    while split * 2 < len(items):
        split *= 2
    return hashlib.sha3_256(b"\x01" + rfc6962(items[:split]) + rfc6962(items[split:])).digest()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 33, 100])
def test_root_is_that_of_rfc_6962(count: int) -> None:
    assert merkle.root(rows(count)) == rfc6962(rows(count))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13])
def test_every_row_proves_itself_and_nothing_else(count: int) -> None:
    items = rows(count)
    root = merkle.root(items)
    for index, row in enumerate(items):
        steps = merkle.proof(items, index)
        merkle.check_untrusted(row, index, count, steps, root)
        bad: list[tuple[bytes, int, int, tuple[bytes, ...]]] = [
            (row + b"x", index, count, steps),
            (row, index, count, (*steps, bytes(32))),
            (row, count, count, steps),
            (row, -1, count, steps),
            (row, index, 0, steps),
            (row, index, count, tuple(step[:31] for step in (*steps, bytes(32)))),
        ]
        if steps:
            bad.append((row, index, count, steps[:-1]))
            bad.append((row, index, count, (*steps[:-1], bytes(32))))
            bad.append((row, (index + 1) % count, count, steps))
        for wrong in bad:
            with pytest.raises(ProtocolError):
                merkle.check_untrusted(*wrong, root)


def test_an_inner_node_is_no_row() -> None:
    """Leaf and node hashes differ in their first byte, so a node's content cannot pass for a row."""
    items = rows(2)
    inner = merkle.leaf_hash(items[0]) + merkle.leaf_hash(items[1])
    with pytest.raises(ProtocolError):
        merkle.check_untrusted(inner, 0, 1, (), merkle.root(items))


def test_no_proof_for_a_row_that_is_not_there() -> None:
    with pytest.raises(IndexError):
        merkle.proof(rows(3), 3)
