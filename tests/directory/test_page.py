"""The page itself: its order, its words, its bounds, and that nothing of others becomes markup."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from onionshh.core.base.params import Params
from onionshh.directory import page as module
from onionshh.directory.consensus import build
from onionshh.directory.entry import Entry, Listed, Status, status_of
from onionshh.directory.page import Facts, page
from onionshh.wire.descriptor import Address, RelayDescriptor
from tests.directory.world import WALL, descriptor

HOUR = 3600
NO_END = frozenset(("meta", "path", "rect"))


class Reader(HTMLParser):
    """Elements that are open, and what was seen of them: refuses what is closed in the wrong order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in NO_END:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def having(self, name: str, value: str) -> list[dict[str, str | None]]:
        return [attributes for _, attributes in self.seen if attributes.get(name) == value]


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def entry(relay: RelayDescriptor, **changes: Any) -> Entry:
    made = Entry(relay, WALL, relay, WALL, WALL, 0, "", WALL - 60, WALL - 5 * HOUR, WALL)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def facts(listed: Sequence[Entry] = (), unlisted: Sequence[Entry] = (), **changes: Any) -> Facts:
    rows = [Listed(one.checked or one.newest, one.first_seen) for one in listed]
    consensus = build(rows, network="meadow", params=Params(), shared_random=(), valid_after=WALL)
    plain = Facts(
        consensus=consensus,
        params=Params(),
        entries={one.newest.identity: one for one in listed},
        unlisted=[(one, status_of(one)) for one in unlisted],
        history=(),
        network_file="version = 1\n",
        now=WALL,
    )
    return replace(plain, **changes)


def relays(*names: str) -> list[Entry]:
    software = "onionshh 0.1.0"
    return [entry(descriptor(number, nickname=name, software=software)) for number, name in enumerate(names)]


def test_relays_are_sorted_by_name_whatever_its_case_and_have_whole_ids() -> None:
    reader = read(page(facts(relays("willow", "Aspen", "birch", "aspen"))))
    ids = reader.having("class", "id")
    assert [one["data-name"] for one in ids] == ["Aspen", "aspen", "birch", "willow"]
    shown = [text for text in reader.text if re.fullmatch("[0-9a-f]{64}", text)]
    assert sorted(shown) == sorted(descriptor(number).identity.hex() for number in range(4))


def test_what_stands_beside_a_relay() -> None:
    text = page(facts(relays("willow")))
    for part in ("8.0.0.1:9001", "<li>Ring</li>", "onionshh 0.1.0", "answered", "60 seconds ago", "5 hours"):
        assert part in text
    assert "2023-11-14" in text
    assert "Versions: onionshh 0.1.0 on 1." in text


def test_a_relay_that_failed_its_last_check_or_is_forgotten_is_still_listed() -> None:
    one, other = relays("one", "other")
    one.failures = 1
    text = page(facts([one, other], entries={one.newest.identity: one}))
    assert text.count(">no answer<") == 1
    assert ">not yet<" in text
    assert text.count(">not known<") == 2


def test_why_a_relay_is_not_listed() -> None:
    gone = entry(descriptor(7), checked=None, failures=3, why="no connection to 8.0.7.1:9001: refused")
    gone.turned = WALL - 5 * HOUR
    new = entry(descriptor(8), checked=None, tested=0, turned=0)
    text = page(facts(relays("willow"), [gone, new]))
    assert "It did not answer its last 3 checks: no connection to 8.0.7.1:9001: refused." in text
    assert text.count("It left the list") == 1
    assert "8.0.8.1:9001 is being checked, or will be in the next interval." in text
    assert descriptor(7).identity.hex() in text
    assert "1 relay is listed, and 2 more are known and not listed." in text


def test_every_address_of_a_relay_is_shown_and_why_it_was_not_reached_there() -> None:
    four, six = Address.of("8.0.1.1", 9001), Address.of("2600::1", 9001)
    onion = Address.of("a2" * 28 + ".onion", 9001)
    all_three = descriptor(1, addresses=(four, six, onion))
    seen = descriptor(1, addresses=(four,))
    one = entry(all_three, checked=seen, missed={six: f"no connection to {six}: <no>"})
    two = entry(descriptor(2), missed={descriptor(2).addresses[0]: "no route"})
    gone = entry(all_three, checked=None, failures=3, why="far", missed={four: "timed out", onion: "<shut>"})
    alone = entry(descriptor(3), checked=None, failures=3, why="no way")
    alone.missed = dict.fromkeys(alone.newest.addresses, "no way")
    text = page(facts([one, two], [gone, alone]))
    assert len(read(text).having("class", "address")) == 3 + 1 + 3 + 1
    listed, unlisted = text.split('id="unlisted"')
    assert f'>{six}<span class="missed">not reached: no connection to this address: &lt;no&gt;<' in listed
    assert f'>{onion}<span class="missed">not in this list<' in listed
    assert '>8.0.2.1:9001<span class="missed">not reached: no route<' in listed
    assert f'>{four}<span class="missed">not reached: timed out<' in unlisted
    assert f'>{six}<span class="missed">not asked: it has to answer first at the address' in unlisted
    assert f'>{onion}<span class="missed">not reached: &lt;shut&gt;<' in unlisted
    assert unlisted.count('class="missed"') == 3
    assert unlisted.count("no way") == 1


def test_each_flag_is_explained() -> None:
    reader = read(page(facts(relays("willow"))))
    text = "".join(reader.text)
    for word in ("Guard", "Ring", "Fast"):
        assert word in text
    assert "It has been listed for 8 days" in text
    assert "after 2 checks in a row without an answer" in text


def test_nothing_is_listed_yet() -> None:
    text = page(facts())
    read(text)
    assert "0 relays are listed." in text
    assert "No relay is listed yet." in text
    assert "Every relay that is known is listed." in text


def test_a_list_that_is_late_and_a_clock_that_may_be_wrong_are_said() -> None:
    assert "The next one is due at" in page(facts(now=WALL + HOUR))
    late = page(facts(now=WALL + 3 * HOUR))
    assert "No newer one could be made, though one was due at" in late
    assert 'role="alert"' not in late
    doubtful = page(facts(doubt="it is <two> hours ahead"))
    assert "may be wrong: it is &lt;two&gt; hours ahead." in doubtful


EVIL = "<script>alert(1)</script>\"'&"


def test_nothing_that_others_chose_becomes_markup() -> None:
    """Descriptors cannot hold most of this. The page does not rely on it."""
    relay = descriptor(1, nickname=EVIL, software=EVIL)
    away = entry(relay, checked=None, failures=1, why=EVIL)
    plain = facts(relays("willow"), [away])
    row = plain.consensus.relays[0]._replace(nickname=EVIL, software=EVIL)
    consensus = replace(plain.consensus, network=EVIL, relays=(row,))
    reader = read(page(replace(plain, consensus=consensus, network_file=EVIL, doubt=EVIL)))
    assert [tag for tag, _ in reader.seen].count("script") == 1
    assert len(reader.having("data-name", EVIL)) == 2
    for tag, attributes in reader.seen:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag


def test_no_more_are_shown_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LISTED_SHOWN", 2)
    monkeypatch.setattr(module, "UNLISTED_SHOWN", 1)
    away = [entry(descriptor(number), checked=None) for number in (50, 51)]
    text = page(facts(relays("c", "b", "a"), away))
    assert text.count('class="id"') == 3
    assert 'The first 2 of 3; <a href="/relays">' in text
    assert 'The first 1 of 2; <a href="/unlisted">' in text


def test_a_page_of_the_most_relays_has_a_bound() -> None:
    """Names, versions and reasons of the greatest length, all of it escaped."""
    listed = [
        entry(descriptor(number, nickname="n" * 19, software="<" * 32, addresses=descriptor(1).addresses))
        for number in range(module.LISTED_SHOWN + 1)
    ]
    away = [
        entry(descriptor(5000 + number), checked=None, failures=9, why="<" * 200)
        for number in range(module.UNLISTED_SHOWN + 1)
    ]
    assert len(page(facts(listed, away))) < 2_000_000


def test_many_versions_are_counted() -> None:
    many = [entry(descriptor(number, software=f"program {number}")) for number in range(9)]
    assert "program 3 on 1, 5 others." in page(facts(many))
    assert "a version not said on 1" in page(facts([entry(descriptor(1))]))


def test_a_screen_reader_finds_its_way() -> None:
    """A language, one first heading, no heading left out, tables with captions, headers and roles."""
    reader = read(page(facts(relays("willow"), [entry(descriptor(9), checked=None)])))
    tags = [tag for tag, _ in reader.seen]
    assert reader.seen[0] == ("html", {"lang": "en"})
    assert tags.count("h1") == tags.count("main") == tags.count("header") == tags.count("footer") == 1
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert all(later <= earlier + 1 for earlier, later in zip([0, *levels], levels, strict=False))
    assert tags.count("caption") == tags.count("table") == 2
    for tag, role in (("table", "table"), ("tr", "row"), ("td", "cell")):
        assert all(attributes.get("role") == role for one, attributes in reader.seen if one == tag)
    for tag, attributes in reader.seen:
        if tag == "th":
            assert attributes["scope"] in ("col", "row")
        if tag == "svg":
            assert attributes["role"] == "img"
            assert attributes["aria-label"]
    links = [attributes["href"] or "" for tag, attributes in reader.seen if tag == "a"]
    names = {attributes.get("id") for _, attributes in reader.seen}
    assert all(link[1:] in names for link in links if link.startswith("#"))
    assert all(link.startswith(("#", "/")) for link in links)


def test_one_that_answered_waits_for_the_next_list() -> None:
    status = Status("reached", "it answered and comes with the next consensus")
    text = page(replace(facts(), unlisted=[(entry(descriptor(3)), status)]))
    assert "It answered and comes with the next consensus." in text
    assert "It left the list" not in text
