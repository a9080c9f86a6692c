"""A network file is read whole or refused in one sentence that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from onionshh.config import Authority, NetworkFile, format_network_file
from onionshh.errors import BadNetworkFile
from onionshh.net.network_file import NETWORK_FILE_MOST, read_network_file

NETWORK = NetworkFile("test", 1, (Authority("http://127.0.0.1:7000", b"k" * 32),))


def test_a_network_file_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "network.toml"
    path.write_text(format_network_file(NETWORK))
    assert read_network_file(path) == NETWORK
    assert read_network_file(str(path)) == NETWORK


@pytest.mark.parametrize("path", ["", "/", Path(), Path("/")])
def test_a_path_that_names_no_file(path: Path | str) -> None:
    with pytest.raises(BadNetworkFile, match="No network file is named"):
        read_network_file(path)


def test_a_file_that_is_not_there_and_a_folder_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(BadNetworkFile, match=r"There is no network file at .*absent; ask whoever runs"):
        read_network_file(tmp_path / "absent")
    with pytest.raises(BadNetworkFile, match="cannot be read: Is a directory"):
        read_network_file(tmp_path)


@pytest.mark.parametrize("more, sentence", [(0, "network.toml: "), (1, "larger than any network file")])
def test_a_file_that_is_large_or_says_something_else_is_named(
    tmp_path: Path, more: int, sentence: str
) -> None:
    path = tmp_path / "network.toml"
    path.write_bytes(b"x" * (NETWORK_FILE_MOST + more))
    with pytest.raises(BadNetworkFile, match=sentence) as caught:
        read_network_file(path)
    assert str(path) in str(caught.value)


def test_one_that_everyone_can_change_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "network.toml"
    path.write_text(format_network_file(NETWORK))
    for mode, said in ((0o644, 0), (0o664, 0), (0o646, 1), (0o666, 1)):  # once, however often it is read
        path.chmod(mode)
        assert read_network_file(path) == NETWORK
        assert len(caplog.messages) == said
    assert "can write to" in caplog.messages[0]
    assert f"say `chmod o-w {path}`" in caplog.messages[0]
