"""What Sender and Receiver ask for: fixed once made, and no word of a whisper in what is logged of it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import get_args

import pytest

from onionshh.core.delivery import actions
from onionshh.core.delivery.actions import (
    Action,
    Answered,
    CallBack,
    Count,
    Deposit,
    EndLane,
    Erase,
    Failure,
    Finish,
    Judge,
    Keep,
    KeepAnswer,
    LaneId,
    NeedLane,
    Offer,
    Pause,
    Recall,
    Remember,
    Repeat,
    RepeatAll,
    Resume,
    Send,
    StopOpening,
    Tell,
    Unheard,
)
from onionshh.core.delivery.incoming import Taken
from onionshh.core.delivery.outgoing import State
from onionshh.core.delivery.record import NO_ID, WHISPER, Record
from onionshh.ids import WhisperId
from onionshh.reasons import Reason

SECRET = b"known to two alone"
ID, LANE, SESSION = WhisperId(b"i" * 16), LaneId(3), b"s" * 16


def each(body: bytes = SECRET) -> list[Action]:
    """One of each kind, as full as can be."""
    record = Record(ID, NO_ID, 1_790_000_000, 1, WHISPER, body)
    taken = Taken(ID, body, 1.0, 2, 1)
    return [
        NeedLane(record),
        StopOpening(),
        Send(LANE, (record, record), ID),
        EndLane(LANE, Reason.EXCHANGE_OVER),
        Tell(ID, State.DELIVERED, "", LANE, None, 1.0, 0.5),
        Unheard(ID),
        Deposit(record),
        Recall(ID),
        Answered(ID, record),
        Remember(1, (Keep(taken, 2), Finish(ID, taken, record), KeepAnswer(record))),
        Judge(LANE, record),
        Offer(ID, taken, 1),
        Repeat(LANE, ID),
        RepeatAll(SESSION),
        CallBack(SESSION, record),
        Erase(ID),
        Pause(LANE),
        Resume(LANE),
        Count(Reason.EXCHANGE_OVER),
    ]


def test_each_kind_of_action_is_looked_at_here() -> None:
    """And each class of the file is an action, a row of `Remember`, or what a driver answers."""
    assert [type(action) for action in each()] == list(get_args(Action))
    own = {one for one in vars(actions).values() if is_dataclass(one) and one.__module__ == actions.__name__}
    assert own == {*get_args(Action), Keep, Finish, KeepAnswer, Failure}


@pytest.mark.parametrize("action", each(), ids=lambda action: type(action).__name__)
def test_no_body_is_in_a_repr(action: Action) -> None:
    assert SECRET.decode() not in repr(action)


@pytest.mark.parametrize("action", each(), ids=lambda action: type(action).__name__)
def test_nobody_changes_an_action_on_its_way(action: Action) -> None:
    for name in [one.name for one in fields(action)] or ["lane"]:
        with pytest.raises((FrozenInstanceError, TypeError)):
            setattr(action, name, None)


def test_actions_are_alike_when_they_ask_for_the_same() -> None:
    assert each() == each()
    differ = [
        type(one).__name__ for one, other in zip(each(), each(b"another body"), strict=True) if one != other
    ]
    assert differ == ["NeedLane", "Send", "Deposit", "Answered", "Remember", "Judge", "Offer", "CallBack"]


def test_a_failure_is_for_now_unless_it_says_otherwise() -> None:
    failure = Failure("an introducer is busy")
    assert not failure.hopeless
    assert not failure.nobody
