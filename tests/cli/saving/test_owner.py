"""Root has the rights of a folder's owner in it, and nothing but these."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from onionshh.cli.saving.owner import NO_GROUP, as_owner, check_links, is_reachable
from onionshh.errors import BadData
from tests.cli.saving.folders import OWNER, as_root, owns


def rights() -> tuple[object, ...]:
    return os.geteuid(), os.getegid(), os.getgroups(), Path.cwd(), sys.path[:]


def test_who_is_not_root_works_where_the_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    before = rights()
    with as_owner(tmp_path) as inside:
        assert inside == tmp_path
        assert rights() == before


@as_root
def test_root_stays_root_in_a_folder_of_its_own(tmp_path: Path) -> None:
    before = rights()
    with as_owner(tmp_path) as inside:
        assert inside == tmp_path
        assert rights() == before


@as_root
def test_root_is_the_owner_for_so_long(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (room / "root").mkdir(0o700)
    (room / "data").mkdir(0o700)
    (room / "data" / "link").symlink_to(room / "root")
    owns(room / "data")
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    before = rights()
    with pytest.raises(PermissionError), as_owner(room / "data") as inside:
        (inside / "made").touch()
        assert rights()[:4] == (OWNER, OWNER, [], room / "data")
        assert "" not in sys.path  # the owner may have put modules there
        (inside / "link" / "made").touch()
    assert rights() == before
    assert (room / "data" / "made").stat().st_uid == OWNER
    assert list((room / "root").iterdir()) == []


@as_root
def test_the_group_of_root_is_not_the_owners(room: Path) -> None:
    os.chown(room, OWNER, 0)
    with as_owner(room):
        assert os.getegid() == NO_GROUP


@as_root
def test_below_a_folder_that_only_root_may_enter(room: Path) -> None:
    data = room / "private" / "data"
    data.mkdir(parents=True)
    data.parent.chmod(0o700)
    (data / "file").write_text("x")
    owns(data)
    with as_owner(data) as inside:
        assert (inside / "file").read_text() == "x"
        assert not is_reachable(inside / "file")
    data.parent.chmod(0o755)
    with as_owner(data) as inside:
        assert is_reachable(inside / "file")


@as_root
def test_a_link_that_came_meanwhile_is_not_followed(room: Path) -> None:
    (room / "real" / "data").mkdir(parents=True)
    (room / "link").symlink_to(room / "real")
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"), as_owner(room / "link" / "data"):
        pass


@as_root
@pytest.mark.parametrize("call", ["setgroups", "setegid", "seteuid"])
def test_where_rights_cannot_be_taken_it_says_so(
    room: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in some containers."""
    owns(room)
    before = rights()

    def refused(_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refused)
        with pytest.raises(BadData, match=r"uid 61184.*; run this as that user\."), as_owner(room):
            pass
    assert rights() == before


@as_root
def test_links_of_others_on_the_way_are_refused(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (room / "real" / "data").mkdir(parents=True)
    (room / "link").symlink_to(room / "real")
    check_links(room / "link" / "data")
    os.chown(room / "link", OWNER, OWNER, follow_symlinks=False)
    with pytest.raises(BadData, match="link is a symbolic link of another user; give the folder itself"):
        check_links(room / "link" / "data")
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    check_links(room / "link" / "data")
    with pytest.raises(BadData, match="is a symbolic link of another user"):
        os.chown(room / "link", 1235, 1235, follow_symlinks=False)
        check_links(room / "link")
