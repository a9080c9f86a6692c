"""Inputs by Hypothesis: what the real encoders make, changed a little; now and then any bytes at all."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

_MOST = 2000
_CHANGES = 4


@st.composite
def inputs(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """One input. Shrinks towards a seed with fewer changes, nearer to its beginning."""
    if not draw(st.integers(0, 9)):
        return draw(st.binary(max_size=_MOST))
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, _CHANGES))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.sampled_from((1, 2, 4, 8, 32, 500, 20_000)))
        start, hit, end = data[:at], data[at : at + size], data[at + size :]
        change = draw(st.sampled_from(("set", "insert", "cut", "end", "twice", "zeros", "ones", "other")))
        if change == "set":
            new = draw(st.binary(min_size=1, max_size=8))
            data = start + new + data[at + len(new) :]
        elif change == "insert":
            data = start + draw(st.binary(min_size=1, max_size=64)) + hit + end
        elif change == "cut":
            data = start + end
        elif change == "end":
            data = start
        elif change == "twice":
            data = start + hit + hit + end
        elif change == "zeros":
            data = start + bytes(len(hit)) + end
        elif change == "ones":
            data = start + b"\xff" * len(hit) + end
        else:
            data = start + draw(st.sampled_from(seeds))[at:]
    return data
