"""An exchange that a crash cuts off anywhere: no program begins then, and what was there comes back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from onionshh.cli.saving.exchange import WORK, Exchange, contents
from onionshh.errors import BadData
from onionshh.net.store import UNFINISHED, DataDirectory
from tests.cli.saving.folders import everything

OLD = {"relay-keys": b"old keys", "accounting": b"old", "endpoints/ab/endpoint.db": b"old", "only-old": b"x"}
NEW = {"relay-keys": b"new keys", "endpoints/ab/endpoint.db": b"new", "only-new": b"y"}
STAYS = {"lock": b"", "guards.lock": b"", "lost+found/1": b"z", "before-0123abcd/relay-keys": b"older"}


class Crash(BaseException):
    """The power is gone: from now on nothing is done."""


def fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, body in files.items():
        DataDirectory((folder / name).parent)
        (folder / name).write_bytes(body)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path / "data", OLD | STAYS)
    return tmp_path / "data"


def begun(folder: Path) -> Exchange:
    exchange = Exchange(folder)
    exchange.mend()
    fill(exchange.new, NEW)
    return exchange


def rest(folder: Path) -> dict[str, bytes]:
    """All in it but what stays and what works."""
    found = everything(folder).items()
    return {name: body for name, body in found if name not in STAYS and not name.startswith(WORK)}


def programs_begin(folder: Path) -> bool:
    there = DataDirectory(folder)
    if not (folder / UNFINISHED).exists():
        with there.lock(), there.turn("guards.lock"):
            return True
    for begin in (there.lock(), there.turn("guards.lock")):
        with pytest.raises(BadData, match=r"was cut off.*say `onionshh restore` again"), begin:
            pass
    return False


CALLS = ("rename", "replace", "unlink", "rmdir", "mkdir", "fsync", "link")


@contextmanager
def power(monkeypatch: pytest.MonkeyPatch, calls: int) -> Iterator[list[str]]:
    """It lasts for so many calls. What was called is in the list."""
    made: list[str] = []

    def limited(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if len(made) >= calls:
                raise Crash
            made.append(name)
            return real(*arguments, **named)

        return call

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, limited(name, getattr(os, name)))
        yield made


def test_what_was_there_makes_room(folder: Path, tmp_path: Path) -> None:
    aside = begun(folder).swap()
    assert rest(folder) == NEW
    assert everything(folder).items() >= STAYS.items()
    assert aside is not None
    assert aside.parent == tmp_path
    assert aside.name.startswith("data.before-")
    assert everything(aside) == OLD
    assert programs_begin(folder)
    assert not list(folder.glob(".rest*/*"))


def test_in_an_empty_folder_nothing_is_put_aside(tmp_path: Path) -> None:
    fill(tmp_path / "data", STAYS)
    assert contents(tmp_path / "data") == []
    assert begun(tmp_path / "data").swap() is None
    assert rest(tmp_path / "data") == NEW
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_where_nothing_can_be_put_beside_it_lies_within(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a mount point: neither it nor anything in it can be moved elsewhere."""
    rename = os.rename

    def within(one: Path, other: Path) -> None:
        if folder not in Path(one).parents or folder not in Path(other).parents:
            raise OSError(18, "Invalid cross-device link")
        rename(one, other)

    monkeypatch.setattr(os, "rename", within)
    aside = begun(folder).swap()
    assert aside is not None
    assert aside.parent == folder
    assert everything(aside) == OLD
    fill(folder, {"relay-keys": b"newer"})
    again = begun(folder).swap()
    assert again is not None
    assert everything(again) == NEW | {"relay-keys": b"newer"}
    assert everything(aside) == OLD  # the earlier one stays where it is
    assert programs_begin(folder)


def test_a_crash_anywhere_can_be_told_and_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    halves = 0
    for calls in range(1000):
        folder = tmp_path / str(calls) / "data"
        fill(folder, OLD | STAYS)
        exchange = begun(folder)
        with power(monkeypatch, calls) as made:
            try:
                exchange.swap()
            except Crash:
                pass
            else:
                break
        assert len(made) == calls
        left = rest(folder)
        if programs_begin(folder):
            assert {name: left.get(name) for name in NEW} == NEW or left.items() >= OLD.items(), calls
            fresh = "only-new" in left
        else:
            halves += 1
            assert Exchange(folder).mend()
            assert rest(folder) == OLD
            fresh = False
        again = begun(folder).swap()
        assert programs_begin(folder)
        assert {name: body for name, body in rest(folder).items() if not name.startswith("before")} == NEW
        assert again is not None
        assert everything(again) == (NEW if fresh else OLD)
    assert halves > 12


def test_a_crash_while_it_is_mended_is_mended_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mended = 0
    for first in range(1000):
        for second in range(1000):
            folder = tmp_path / f"{first}-{second}" / "data"
            fill(folder, OLD | STAYS)
            exchange = begun(folder)
            with power(monkeypatch, first):
                try:
                    exchange.swap()
                except Crash:
                    pass
                else:
                    assert mended > 100
                    return
            if programs_begin(folder):
                break  # nothing to mend
            with power(monkeypatch, second):
                try:
                    Exchange(folder).mend()
                except Crash:
                    mended += 1
                else:
                    break
            Exchange(folder).mend()
            assert programs_begin(folder)
            assert rest(folder) == OLD


@pytest.mark.parametrize("number", range(9))
def test_an_error_puts_back_what_was_there(
    folder: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange, rename, calls = begun(folder), os.rename, 0

    def failing(one: Path, other: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == number + 1:
            raise OSError(16, "Device or resource busy")
        rename(one, other)

    monkeypatch.setattr(os, "rename", failing)
    if number < 7:  # four old and three new; the last one only puts aside
        with pytest.raises(OSError, match="busy"):
            exchange.swap()
        assert everything(folder) == OLD | STAYS
    else:
        assert exchange.swap() is not None
        assert {name: rest(folder)[name] for name in NEW} == NEW
    assert programs_begin(folder)


def test_what_somebody_put_there_meanwhile_is_not_lost(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = begun(folder)
    with power(monkeypatch, 12), pytest.raises(Crash):
        exchange.swap()
    (before,) = set(folder.glob("before-*")) - {folder / "before-0123abcd"}
    moved = sorted(path.name for path in before.iterdir())[0]
    fill(folder, {moved: b"by hand"} if moved != "endpoints" else {"endpoints/ab/endpoint.db": b"by hand"})
    with pytest.raises(BadData, match="are both there; remove the one that you do not want"):
        Exchange(folder).mend()
    (folder / moved).unlink()
    assert Exchange(folder).mend()
    assert rest(folder) == OLD


@pytest.mark.parametrize(
    "text", [b"", b"in", b"in ../../etc\n", b"out before-xyz\n", b"in before-0123abcd\nmore", b"x" * 65]
)
def test_a_marker_that_is_not_ours_is_refused(folder: Path, text: bytes) -> None:
    (folder / UNFINISHED).write_bytes(text)
    with pytest.raises(BadData, match=r"was not written by a restore|larger than any file of ours"):
        Exchange(folder).mend()
    assert everything(folder) == OLD | STAYS | {UNFINISHED: text}


def test_a_link_in_the_place_of_the_work_folder_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder / WORK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadData, match="symbolic link, which we never make"):
        Exchange(folder).mend()


def test_nothing_but_what_a_restore_makes_is_used(folder: Path, tmp_path: Path) -> None:
    """A link may lead to files that only root can move."""
    fill(tmp_path / "elsewhere", {"shadow": b"secret"})
    before = folder / "before-00000000"
    for mark in ("out", "in"):
        (folder / UNFINISHED).write_text(f"{mark} {before.name}\n")
        before.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(BadData, match="before-00000000 is a symbolic link, which we never make"):
            Exchange(folder).mend()
        before.unlink()
        before.touch()
        with pytest.raises(BadData, match="is not what a restore makes of this name; move it away"):
            Exchange(folder).mend()
        before.unlink()
    (folder / UNFINISHED).rename(tmp_path / "marker")
    (folder / UNFINISHED).symlink_to(tmp_path / "marker")
    with pytest.raises(BadData, match=r"\.restoring is a symbolic link"):
        Exchange(folder).mend()
    (folder / UNFINISHED).unlink()
    (folder / WORK).mkdir()
    (folder / WORK / "new").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadData, match=r"\.restore/new is a symbolic link"):
        Exchange(folder).mend()
    assert everything(tmp_path / "elsewhere") == {"shadow": b"secret"}
    assert everything(folder).items() >= OLD.items()


def test_nothing_is_erased_if_what_was_there_before_is_missing(folder: Path) -> None:
    (folder / UNFINISHED).write_text("in before-00000000\n")
    with pytest.raises(BadData, match=r"before-00000000, where .* is missing; put it back, or remove"):
        Exchange(folder).mend()
    assert rest(folder) == OLD | {UNFINISHED: b"in before-00000000\n"}
    (folder / UNFINISHED).unlink()
    assert not Exchange(folder).mend()
    assert rest(folder) == OLD
