"""What holds for every test: the same choices in every run, and who runs beside whom.

On several cores (`make unit`) each file is run by one process, with what its tests share. Whatever starts
processes of its own has fixed addresses and waits in real time: it runs one after the other, in one process
from the beginning on; what mostly waits, in another one. On one core it runs last.

Asynchronous tests need no mark (`trio_mode`). A test that waits asks for pytest-trio's `autojump_clock`,
under which time passes only while every task sleeps; nothing outside tests/system sleeps for real.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

from onionshh.cli import talk
from tests.seeded import seed_tasks

hypothesis.settings.register_profile("onionshh", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("onionshh")

TESTS = Path(__file__).parent
SYSTEM = TESTS / "system"
LONG = frozenset(
    TESTS / name
    for name in ("client/meeting/test_meeting.py", "client/test_rotation.py", "simulations/test_delivery.py")
)
"""Files with a test of tens of seconds: begun early, or one core ends with it while the others rest."""
SLEEPERS = frozenset(f"tests/system/test_{name}.py" for name in ("boards", "mailboxes", "waiting_whispers"))
"""Files of processes that do nothing for minutes, at addresses that no other test uses."""


MEMORY = Path("/dev/shm")
MEMORY_BYTES = 1 << 30


def pytest_configure() -> None:
    """Files of tests lie in memory where there is much. No test cuts the power, and to wait for a disk at
    every sync would take longer than all else. TMPDIR names another place. A group can write to none of them:
    such a configuration file is refused."""
    os.umask(os.umask(0o022) | 0o022)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup every program of a test would ignore it
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK):
        return
    if shutil.disk_usage(MEMORY).free >= MEMORY_BYTES:
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None  # it is looked for anew


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands each file to one process, and all that lies under tests/system to one, or to two."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        if path in SLEEPERS:
            return "sleepers"
        return "tests/system" if path.startswith("tests/system/") else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    """What `-n` shares the tests out with, in the order in which they are."""
    config.option.loadscopereorder = False
    return ByFile(config, log)


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
        monkeypatch.setattr(talk, name, talk.Mouth(name))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what lies under tests/system, and put all in order."""
    for item in items:
        if SYSTEM in item.path.parents:
            item.add_marker(pytest.mark.system)
    if hasattr(config, "workerinput"):  # of several processes
        items.sort(key=lambda item: 0 if SYSTEM in item.path.parents else 1 if item.path in LONG else 2)
    else:
        items.sort(key=lambda item: SYSTEM in item.path.parents)
