"""Errors: one family for programs, one that never leaves the node, and all of them can be carried about."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable

import pytest

import onionshh
from onionshh import errors
from onionshh.errors import (
    Away,
    BadAddress,
    ClockWrong,
    CryptoError,
    Error,
    NotDelivered,
    NotStored,
    ProtocolError,
    TooLarge,
)
from onionshh.reasons import Reason

ALL = [
    one
    for one in vars(errors).values()
    if inspect.isclass(one) and issubclass(one, Exception) and one.__module__ == errors.__name__
]
PUBLIC = [one for one in ALL if issubclass(one, Error)]
SENTENCE = "This node is closed."

named = pytest.mark.parametrize("error", PUBLIC, ids=lambda error: error.__name__)


def made(error: type[Exception]) -> Exception:
    """One of these, with something in every field."""
    if issubclass(error, ProtocolError):
        return error(Reason.KEY_POINT)
    if issubclass(error, ClockWrong):
        return error(SENTENCE, offset_seconds=-70)
    if issubclass(error, NotDelivered | NotStored):
        return error(SENTENCE, "sent", why="nobody answers")
    return error(SENTENCE)


@named
def test_a_program_can_name_each_error_and_catch_all_of_them_as_one(error: type[Exception]) -> None:
    assert getattr(onionshh, error.__name__) is error
    assert error.__name__ in onionshh.__all__
    with pytest.raises(onionshh.Error, match=SENTENCE):
        raise made(error)


@named
def test_its_text_is_the_sentence_and_nothing_else(error: type[Exception]) -> None:
    assert str(made(error)) == SENTENCE
    assert made(error).args == (SENTENCE,)


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_each_says_what_it_means(error: type[Exception]) -> None:
    first = inspect.cleandoc(error.__doc__ or "").split("\n\n")[0]
    assert first.rstrip().endswith(".")


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))],
    ids=["copy", "deepcopy", "pickle"],
)
@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_each_can_be_copied_and_sent_to_another_process(
    error: type[Exception], again: Callable[[Exception], Exception]
) -> None:
    one = made(error)
    other = again(one)
    assert type(other) is error
    assert (str(other), other.args, vars(other)) == (str(one), one.args, vars(one))


def test_what_hostile_bytes_raise_is_no_error_for_programs() -> None:
    """And the other way round: a handler for one never swallows the other."""
    assert not issubclass(ProtocolError, Error)
    assert not any(issubclass(one, ProtocolError) for one in PUBLIC)
    assert not any(name in onionshh.__all__ for name in ("ProtocolError", "CryptoError"))
    error = CryptoError(Reason.KEY_POINT)
    assert isinstance(error, ProtocolError)
    assert (error.reason, str(error)) == (Reason.KEY_POINT, "key-point")


def test_a_wrong_argument_is_a_value_error_too() -> None:
    assert [one for one in PUBLIC if issubclass(one, ValueError)] == [BadAddress, TooLarge]


def test_nobody_there_is_one_way_of_not_being_delivered() -> None:
    error = Away(SENTENCE, "queued", "no endpoint is published")
    with pytest.raises(NotDelivered) as caught:
        raise error
    assert (caught.value.status, caught.value.why) == ("queued", "no endpoint is published")
    assert (NotDelivered(SENTENCE).status, NotDelivered(SENTENCE).why) == ("failed", "")
