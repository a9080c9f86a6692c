"""Every reason has a sentence, a place that gives it, and a name that scripts can rely on."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from onionshh.reasons import Reason
from tests.layers import SHIPPED

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("reason", Reason)
def test_each_has_a_name_of_the_usual_shape_and_one_sentence(reason: Reason) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", reason)
    assert reason.name == reason.value.upper().replace("-", "_")
    assert re.fullmatch(r"[A-Z].{10,110}\.", reason.sentence), reason.sentence
    assert ". " not in reason.sentence


def test_no_two_say_the_same() -> None:
    assert len({reason.sentence for reason in Reason}) == len(Reason)


def test_each_is_given_somewhere() -> None:
    given: Counter[str] = Counter()
    for folder in SHIPPED:
        for path in (ROOT / folder).rglob("*.py"):
            given.update(re.findall(r"\bReason\.([A-Z_]+)\b", path.read_text(encoding="utf-8")))
    assert set(given) == {reason.name for reason in Reason}


def test_a_reason_is_its_name_wherever_text_is_wanted() -> None:
    assert str(Reason.QUEUE_FULL) == f"{Reason.QUEUE_FULL}" == "queue-full"
    counts: dict[str, int] = {Reason.QUEUE_FULL: 1}
    assert counts["queue-full"] == 1
