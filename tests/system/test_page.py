"""The directory's page in a real Chromium: on a telephone and a desk, light and dark, without its script.

The directory is a real process. It finds a day of history and relays with the longest names, versions and
reasons that there can be in its folder, since nobody waits a day for a test.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from onionshh.directory.entry import Entry, by_name
from onionshh.directory.history import Point, added
from onionshh.directory.store import KeptState, create_or_open
from onionshh.wire.descriptor import Address
from tests.directory.world import descriptor
from tests.system.chromium import Chromium, chromium, installed
from tests.system.processes import running

pytestmark = pytest.mark.skipif(installed() is None, reason="chromium is not installed (Debian: chromium)")

HOUR = 3600
LISTED = 14
AWAY = 3
WIDTHS = (360, 1280)
LONGEST = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"
ONION = Address.of("a2" * 28 + ".onion", 65535)
WIDER_THAN = """
[...document.querySelectorAll("body *:not(.aside):not(thead *)")]
    .filter(one => one.getBoundingClientRect().right >
        (one.closest(".card") ? one.closest(".card").getBoundingClientRect().right : WIDTH) + 0.5)
    .map(one => one.outerHTML.slice(0, 80))
"""


def entries(wall: int) -> Iterator[Entry]:
    """Relays that were listed for days, and some that are not."""
    address = Address.of(LONGEST[1:-7], 65535)
    for number in range(LISTED + AWAY):
        widest = number in (0, LISTED)
        relay = descriptor(
            number,
            nickname="W" * 19 if widest else f"relay-{number}",
            software="W" * 32 if widest else "onionshh 0.1.0",
            addresses=(address, ONION) if widest else (Address.of("127.0.0.1", 9000 + number),),
            published=wall - HOUR,
            bandwidth=10_000_000,
        )
        since = wall - number * 86_400
        if number < LISTED:
            answered = replace(relay, addresses=relay.addresses[:1])
            missed = {ONION: "W" * 200} if widest else {}
            yield Entry(relay, wall, answered, since, wall - 60, 0, "", wall - 60, since, since, missed)
        else:
            why = "W" * 200 if widest else f"no connection to {relay.address}: Connection refused"
            missed = dict.fromkeys(relay.addresses, why)
            yield Entry(relay, wall, None, 0, 0, 4, why, wall - 60, 0, wall - 5 * HOUR, missed)


def history(wall: int) -> tuple[Point, ...]:
    """A day with a gap of two hours, and one consensus that was late."""
    points: tuple[Point, ...] = ()
    due, at = 0, wall // HOUR * HOUR - 23 * HOUR
    while at < wall:
        back = (wall - at) // HOUR
        if back not in (7, 8):
            late, relays = 600 * (back == 12), LISTED - (back > 15)
            points = added(
                points, at=at + late, due=due, interval=HOUR, relays=relays, bandwidth=relays * 10**7
            )
            due = at + HOUR
        at += HOUR
    return points


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a directory with such a past answers."""
    folder = tmp_path_factory.mktemp("directory")
    data, network, wall = folder / "data", folder / "net.toml", int(time.time())
    made = create_or_open(data, network, url="http://127.0.0.1:1", random_bytes=os.urandom, name="meadow")
    with made as store:
        store.save_state(KeptState(0, (), tuple(entries(wall)), history(wall)).encode())
    network.unlink()
    command = ("directory", "--listen", "127.0.0.1:0", "--data", data, "--network", network)
    with running(*command, "--interval", HOUR, "--param", f"valid_seconds={24 * HOUR}") as directory:
        said = directory.until(lambda line: " at http://" in line)
        yield said.partition(" at ")[2].split()[0]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with chromium(tmp_path_factory.mktemp("profile")) as running_browser:
        yield running_browser


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_scrolls_sideways_and_the_colours_are_those_asked_for(
    url: str, browser: Chromium, width: int, dark: bool, tmp_path: Path
) -> None:
    browser.look(width=width, dark=dark)
    browser.open(url)
    assert browser.evaluate(WIDER_THAN.replace("WIDTH", str(width))) == []
    assert browser.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    red = int(ground.partition("(")[2].partition(",")[0])
    assert red < 60 if dark else red > 200
    seen, high = size(browser.screenshot())
    assert seen == width
    assert high > 1000
    assert browser.said == [], "the page's own policy lets in all that is in it"


@pytest.mark.parametrize("width", [320, 600, 960, 1024, 1920])
def test_nothing_is_cut_off_at_other_widths(url: str, browser: Chromium, width: int) -> None:
    browser.look(width=width)
    browser.open(url)
    assert browser.evaluate(WIDER_THAN.replace("WIDTH", str(width))) == []
    assert browser.evaluate("document.documentElement.scrollWidth") == width


def test_all_of_it_is_there(url: str, browser: Chromium) -> None:
    browser.look(width=360)
    browser.open(url)
    text = browser.evaluate("document.body.innerText")
    assert f"{LISTED} relays are listed, and {AWAY} more are known and not listed." in text
    assert "It did not answer its last 4 checks: no connection to 127.0.0.1:9015" in text
    assert text.count(LONGEST) == text.count(str(ONION)) == 2
    assert text.count("not reached: WWW") == 3
    ids = browser.evaluate('[...document.querySelectorAll("code.id")].map(id => id.innerText)')
    assert sorted(ids) == sorted(descriptor(number).identity.hex() for number in range(LISTED + AWAY))
    names = browser.evaluate('[...document.querySelectorAll("#listed .name")].map(name => name.innerText)')
    assert names == sorted(names, key=by_name)
    widths = '[...document.querySelectorAll("svg")].map(one => one.getBoundingClientRect().width)'
    pictures = browser.evaluate(widths)
    assert len(pictures) == 3
    assert min(pictures) > 250
    assert browser.evaluate('document.querySelectorAll("rect.late").length') == 1
    assert browser.evaluate('document.querySelectorAll("rect.none").length') == 2


def test_a_button_copies_a_whole_id(url: str, browser: Chromium) -> None:
    browser.look(width=360)
    browser.open(url)
    browser.ask("Page.bringToFront")
    first = browser.evaluate('document.querySelector("code.id").textContent')
    button = 'document.querySelector("code.id + button")'
    assert browser.evaluate(f"{button}.innerText").startswith("Copy")
    browser.evaluate(f"{button}.click(), new Promise(done => setTimeout(done, 300))")
    assert browser.evaluate(f"{button}.innerText").startswith(("Copied", "Selected"))
    # Where a page may not write to the clipboard (plain HTTP on the internet), the id is selected.
    browser.evaluate('Object.defineProperty(navigator, "clipboard", {value: undefined})')
    browser.evaluate(f"{button}.click(), new Promise(done => setTimeout(done, 300))")
    assert browser.evaluate("getSelection().toString()").strip() == first
    assert len(first) == 64


def test_without_script_nothing_but_the_buttons_is_missing(url: str, browser: Chromium) -> None:
    browser.look(width=360, script=False)
    browser.open(url)
    text = browser.ask("DOMSnapshot.captureSnapshot", computedStyles=[])["strings"]
    browser.look(width=360)
    assert descriptor(1).identity.hex() in text
    assert "BUTTON" not in text
    assert "SVG" in [part.upper() for part in text]


def test_what_gets_into_the_page_is_neither_run_nor_styled(url: str, browser: Chromium) -> None:
    browser.look(width=1280)
    browser.open(url)
    browser.evaluate(
        """
        const one = document.createElement("div");
        one.innerHTML = '<img src="x" onerror="document.title=1"><p style="color:red" id="p">x</p>';
        document.body.append(one);
        const script = document.createElement("script");
        script.textContent = "document.title = 'run'";
        document.body.append(script);
        """
    )
    assert browser.evaluate("document.title") == "meadow: relays"
    assert browser.evaluate('getComputedStyle(document.querySelector("#p")).color') != "rgb(255, 0, 0)"
    assert any("Content Security Policy" in said for said in browser.said)
    browser.said.clear()


@pytest.mark.parametrize("width", WIDTHS)
def test_tables_stay_tables_for_who_cannot_see_them(url: str, browser: Chromium, width: int) -> None:
    """Also where their rows look like cards."""
    browser.look(width=width)
    browser.open(url)
    nodes = browser.ask("Accessibility.getFullAXTree")["nodes"]
    roles = [node["role"]["value"] for node in nodes if not node.get("ignored") and "role" in node]
    assert roles.count("table") == 2
    assert roles.count("row") == LISTED + AWAY + 2
    assert roles.count("rowheader") == LISTED + AWAY
    assert roles.count("columnheader") == 7 + 4
    assert roles.count("image") + roles.count("img") == 3
