"""Boards take minutes and hours of virtual time, in which the ticks of links would take most of the real
time."""

from __future__ import annotations

import pytest

from onionshh.net import link_loop


@pytest.fixture(autouse=True)
def _slower_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_loop, "TICK_SECONDS", 5.0)
