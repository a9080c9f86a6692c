"""What a circuit is for, and the kind of path that follows."""

from __future__ import annotations

import pytest

from onionshh.core.base.classes import TALK
from onionshh.core.circuit.purpose import PathKind, Purpose, meeting_kind

GIVEN = {Purpose.READY, Purpose.RENDEZVOUS}
"""Purposes whose kind does not follow from them."""
OF_THE_NODE = {Purpose.RING, Purpose.INTRODUCE, Purpose.TEST, Purpose.INTRODUCER, Purpose.PUBLISH}

OF_ENDS = {
    Purpose.ANSWER,
    Purpose.RESUME,
    Purpose.WAY_BACK,
    Purpose.PROVE,
    Purpose.CALL,
    Purpose.MAILBOX,
}
"""Those whose last relay the other side chose, foresaw or learns."""


@pytest.mark.parametrize("purpose", sorted(set(Purpose) - GIVEN))
@pytest.mark.parametrize("hops", [0, 1, 2, 3])
def test_only_ways_to_introducers_and_ring_relays_follow_the_node_s_hops(purpose: Purpose, hops: int) -> None:
    fixed = {Purpose.CONSENSUS: 3} | dict.fromkeys(OF_ENDS, 4)
    assert (purpose in fixed) != (purpose in OF_THE_NODE)
    assert purpose.kind(hops).relays == fixed.get(purpose, hops + 1)
    assert purpose.kind(hops).privacy_class == TALK.number


def test_what_others_can_make_an_end_build_or_foresee_is_pinned_and_nothing_else() -> None:
    pinned = {purpose for purpose in set(Purpose) - GIVEN if purpose.kind().pinned}
    assert pinned == {Purpose.INTRODUCER, Purpose.PUBLISH} | OF_ENDS - {Purpose.CALL}
    assert pinned == {purpose for purpose in Purpose if purpose.pinned}


@pytest.mark.parametrize("purpose", sorted(GIVEN))
def test_some_purposes_have_no_kind_of_their_own(purpose: Purpose) -> None:
    with pytest.raises(ValueError, match=purpose.value):
        purpose.kind()


@pytest.mark.parametrize("hops", [0, 1, 2, 3])
def test_a_visitor_s_way_to_a_rendezvous_point(hops: int) -> None:
    assert meeting_kind(hops, 1) == PathKind(hops + 1, 1, pinned=False)


def test_a_stub_is_a_path_without_its_last_relay() -> None:
    assert PathKind(4, 1, pinned=True).without_last == PathKind(3, 1, pinned=True)
    with pytest.raises(ValueError):
        _ = PathKind(1, 1).without_last


def test_a_purpose_reads_as_its_value() -> None:
    assert f"{Purpose.INTRODUCER}" == "introducer"
    assert len({purpose.value for purpose in Purpose}) == len(Purpose)
