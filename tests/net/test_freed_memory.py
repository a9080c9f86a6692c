from __future__ import annotations

import pytest

from onionshh.net import freed_memory as heap


def test_it_can_be_asked_at_any_time() -> None:
    heap.give_back()


def test_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    giving = heap.GivingBack()
    for now in range(100, 250):
        monkeypatch.setattr(heap, "give_back", lambda at=now: asked.append(at))
        giving.tick(float(now))
    assert asked == [100, 160, 220]
