"""What to do when the system refuses: for each number that leaves a person something to do."""

from __future__ import annotations

import errno
import os

import pytest

from onionshh.advice import advice, in_words
from onionshh.cli.failures import explain


@pytest.mark.parametrize(
    "name",
    [
        *(
            "EMFILE",
            "ENFILE",
            "ENOMEM",
            "EIO",
            "ENOSPC",
            "EROFS",
            "EDQUOT",
            "ELOOP",
            "ENOLCK",
            "ENAMETOOLONG",
        ),
        *("ESTALE", "EPERM", "EACCES", "ENOENT", "EADDRINUSE"),
    ],
)
def test_every_error_of_the_system_has_its_advice(name: str) -> None:
    number = getattr(errno, name)
    said, status = explain(OSError(number, os.strerror(number), "/data/guards"))
    assert said.startswith(f"{os.strerror(number)}: /data/guards; ")
    assert status == 1
    assert advice(OSError(number, "")) == said[said.index(";") : -1]


def test_a_refusal_that_leaves_nothing_to_do_is_said_alone() -> None:
    for error in (OSError(errno.EPIPE, "Broken pipe"), OSError("no number")):
        assert advice(error) == ""
    assert in_words(OSError(errno.EPIPE, "Broken pipe")) == "Broken pipe"
    assert in_words(OSError("no number")) == "no number"


def test_in_words_names_no_path() -> None:
    """Whoever says it names what could not be done, and to what."""
    said = in_words(OSError(errno.ENOSPC, "No space left on device", "/secret/place"))
    assert said == "No space left on device; make room there"


def test_what_comes_to_the_same_has_the_same_advice() -> None:
    same = ((errno.EACCES, errno.EPERM), (errno.ENOSPC, errno.EDQUOT), (errno.ENETUNREACH, errno.ENETDOWN))
    for one, other in same:
        assert advice(OSError(one, "")) == advice(OSError(other, ""))
