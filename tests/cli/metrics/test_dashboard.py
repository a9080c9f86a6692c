"""The dashboard for Grafana asks for what is there, and leaves nothing out by accident."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from trio.testing import MockClock

import onionshh.cli.metrics
from tests.cli.metrics.exposed import names, of_a_network

DASHBOARD = Path(onionshh.cli.metrics.__file__).parent / "dashboard.json"
LEFT_OUT: frozenset[str] = frozenset()
"""What is exposed and not drawn, each for a reason that stands beside it."""


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


def queries() -> list[str]:
    """Every expression: of the panels, and of the variables."""
    board = dashboard()
    panels = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    return panels + [one["query"] for one in board["templating"]["list"] if one["type"] == "query"]


async def test_it_draws_what_a_relay_a_directory_and_a_host_expose(autojump_clock: MockClock) -> None:
    exposed = set[str]().union(*(names(data) for data in (await of_a_network()).values()))
    asked = {name for query in queries() for name in re.findall(r"\bonionshh_[a-z_]+", query)}
    assert asked - exposed == set()
    assert exposed - asked == LEFT_OUT


def test_counters_are_drawn_as_rates() -> None:
    for query in queries():
        for name in re.findall(r"\bonionshh_[a-z_]+_total", query):
            assert re.search(rf"rate\({name}{{[^}}]*}}\[\d+m\]\)", query), query


def test_panels_have_a_place_of_their_own_and_a_sentence() -> None:
    board = dashboard()
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places: set[tuple[int, int]] = set()
    for panel in panels:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        here = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not here & places
        places |= here
        assert panel["type"] == "row" or panel["description"].endswith(".")


def test_it_names_no_machine() -> None:
    text = DASHBOARD.read_text(encoding="utf-8")
    assert "http" not in text
    assert not re.search(r"\d+\.\d+\.\d+\.\d+", text)
    assert {panel["datasource"]["uid"] for panel in dashboard()["panels"] if "datasource" in panel} == {
        "${datasource}"
    }
