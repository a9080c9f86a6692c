"""The network file: what is written is read back, and a mistake gets a sentence that says what to do."""

from __future__ import annotations

import pytest

from onionshh.config import Authority, NetworkFile, format_network_file, parse_network_file
from onionshh.errors import BadNetworkFile

ONE = NetworkFile("my net-1.x", 1, (Authority("http://127.0.0.1:7000", b"k" * 32),))
THREE = NetworkFile(
    "three", 2, tuple(Authority(f"https://d{i}.example/mirror", bytes([i]) * 32) for i in range(3))
)


@pytest.mark.parametrize("network", [ONE, THREE])
def test_round_trip(network: NetworkFile) -> None:
    assert parse_network_file(format_network_file(network)) == network
    assert "version = 1" in format_network_file(network)


def test_needed_is_the_threshold_but_more_than_half() -> None:
    authorities = THREE.authorities
    assert [NetworkFile("x", t, authorities).needed for t in (1, 2, 3)] == [2, 2, 3]
    assert NetworkFile("x", 1, authorities[:2]).needed == 2
    assert ONE.needed == 1
    assert THREE.keys == {bytes([i]) * 32 for i in range(3)}


def test_a_slash_at_the_end_of_a_url_means_nothing() -> None:
    text = format_network_file(ONE).replace("7000", "7000/")
    assert parse_network_file(text) == ONE


KEY = "ab" * 32


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("\ufeff\n", "is empty"),
        ("x = 1", "name"),
        ("name = ", "not valid TOML"),
        ("\x00", "not valid TOML"),
        ('name = "x"', "[[authority]]"),
        ('version = 2\nname = "x"', "version 2"),
        ('version = "1"\nname = "x"', "a whole number, as in version = 1"),
        ('version = true\nname = "x"', "a whole number"),
        ('version = -1\nname = "x"', "a whole number"),
        pytest.param(f"version = {'1' * 5000}", "not valid TOML", id="5000 digits"),
        pytest.param(f"version = 0x{'f' * 5000}", "a whole number", id="5000 hexadecimal digits"),
        pytest.param(f"a = 1\nx = {'1' * 5000}", "not valid TOML", id="5000 digits elsewhere"),
        (f'name = ""\n[[authority]]\nurl="http://h:1"\nkey="{KEY}"', "name"),
        (f'name = "<b>"\n[[authority]]\nurl="http://h:1"\nkey="{KEY}"', "name"),
        (f'name = 5\n[[authority]]\nurl="http://h:1"\nkey="{KEY}"', "name"),
        (f'name = "x"\n[[authority]]\nkey="{KEY}"', "url"),
        (f'name = "x"\n[[authority]]\nurl="ftp://h:1"\nkey="{KEY}"', "url"),
        (f'name = "x"\n[[authority]]\nurl="http://h:99999"\nkey="{KEY}"', "url"),
        (f'name = "x"\n[[authority]]\nurl="http://u:p@h"\nkey="{KEY}"', "url"),
        (f'name = "x"\n[[authority]]\nurl="http://"\nkey="{KEY}"', "url"),
        ('name = "x"\n[[authority]]\nurl="http://h:1"', "key"),
        ('name = "x"\n[[authority]]\nurl="http://h:1"\nkey="abcd"', "key"),
        (f'name = "x"\n[[authority]]\nurl="http://h:1"\nkey="{"zz" * 32}"', "key"),
        (f'name = "x"\nthreshold = 2\n[[authority]]\nurl="http://h:1"\nkey="{KEY}"', "threshold"),
        (f'name = "x"\nthreshold = 0\n[[authority]]\nurl="http://h:1"\nkey="{KEY}"', "threshold"),
        (f'name = "x"\nthreshold = true\n[[authority]]\nurl="http://h:1"\nkey="{KEY}"', "threshold"),
        ('name = "x"' + f'\n[[authority]]\nurl="http://h:1"\nkey="{KEY}"' * 2, "twice"),
        ('name = "x"\nauthority = ["http://h:1"]', "[[authority]]"),
        ('name = "x"\nauthority = "http://h:1"', "[[authority]]"),
    ],
)
def test_mistakes(text: str, says: str) -> None:
    with pytest.raises(BadNetworkFile) as caught:
        parse_network_file(text)
    assert says in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_mark_before_the_text_means_nothing(encoding: str) -> None:
    data = format_network_file(THREE).encode(encoding)
    assert parse_network_file(data) == THREE
    assert parse_network_file(data.decode()) == THREE
    assert parse_network_file(data.replace(b"\n", b"\r\n")) == THREE


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_is_named(encoding: str) -> None:
    with pytest.raises(BadNetworkFile, match="not UTF-8 text but UTF-16, or not text; save it as UTF-8"):
        parse_network_file(format_network_file(ONE).encode(encoding))


def test_a_byte_of_another_encoding_is_shown() -> None:
    with pytest.raises(BadNetworkFile, match=r"line 2 has the byte 0xfc\); save it as UTF-8"):
        parse_network_file('version = 1\n# für uns\nname = "x"\n'.encode("latin-1"))
