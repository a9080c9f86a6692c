"""Waits that lie within one another are the shorter ones."""

from __future__ import annotations

from onionshh.core.base import patience
from onionshh.core.base.params import Params


def test_an_endpoint_is_done_before_its_visitor_gives_up() -> None:
    assert patience.MEETING_SECONDS < patience.RENDEZVOUS_SECONDS


def test_a_test_of_oneself_ends_after_every_wait_within_it() -> None:
    steps = (patience.RING_ANSWER_SECONDS, patience.ANSWER_SECONDS, patience.ARRIVAL_SECONDS)
    assert sum(steps) < patience.TEST_SECONDS


def test_an_answer_is_waited_for_within_an_upload() -> None:
    assert patience.PUBLISH_ANSWER_SECONDS < patience.UPLOAD_SECONDS
    assert patience.PUT_ANSWER_SECONDS < patience.PUT_SECONDS
    assert patience.LIST_ANSWER_SECONDS < patience.MAILBOX_SECONDS


def test_what_is_larger_has_more_time_and_a_newer_list_comes_before_ours_is_over() -> None:
    assert patience.ANSWER_SECONDS < patience.RING_ANSWER_SECONDS < patience.PUBLISH_ANSWER_SECONDS
    assert patience.PUBLISH_ANSWER_SECONDS < patience.CONSENSUS_SECONDS < Params().valid_seconds
