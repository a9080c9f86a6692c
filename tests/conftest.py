"""What holds for every test: the same choices in every run, real processes last.

Asynchronous tests need no mark (`trio_mode`). A test that waits asks for pytest-trio's `autojump_clock`,
under which time passes only while every task sleeps; nothing outside tests/system sleeps for real.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from onionshh.cli import talk
from tests.seeded import seed_tasks

hypothesis.settings.register_profile("onionshh", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("onionshh")

SYSTEM = Path(__file__).parent / "system"


@pytest.fixture(autouse=True)
def _tasks_in_the_same_order(request: pytest.FixtureRequest) -> None:
    """Whatever depends on which of two ready tasks comes first comes out alike in every run."""
    seed_tasks(request.node.nodeid)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """What a command of one test sets up does not speak in the next."""
    root = logging.getLogger()
    before = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = before


@pytest.fixture(autouse=True)
def _lines_of_before_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test could not write is not told in the next."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(talk, f"_{name}", talk.Mouth(name))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies under tests/system, and run it after everything that is fast."""
    for item in items:
        if SYSTEM in item.path.parents:
            item.add_marker(pytest.mark.system)
    items.sort(key=lambda item: SYSTEM in item.path.parents)
