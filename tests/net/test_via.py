"""What `--via` takes, and what is never repeated of it."""

from __future__ import annotations

import pytest

from onionshh.net.via import Credentials, Via, parse_via
from tests.seeded import seeded


@pytest.mark.parametrize(
    ("text", "via"),
    [
        ("tor", Via("127.0.0.1", 9050, tor=True)),
        ("tor=[::1]:9150", Via("::1", 9150, tor=True)),
        ("tor=localhost:9", Via("localhost", 9, tor=True)),
        ("socks5://127.0.0.1:1080", Via("127.0.0.1", 1080)),
        (" socks5://proxy.example:1/\n", Via("proxy.example", 1)),
        ("socks5://me:p%40ss@h:1", Via("h", 1, user=b"me", password=b"p@ss")),
        ("socks5://me@h:1", Via("h", 1, user=b"me")),
        (f"socks5://{'u' * 255}:{'p' * 255}@h:1", Via("h", 1, user=b"u" * 255, password=b"p" * 255)),
    ],
)
def test_a_proxy_is_named(text: str, via: Via) -> None:
    assert parse_via(text) == via


@pytest.mark.parametrize(
    "text",
    [
        *("", "socks5", "socks5://", "socks5://h", "socks5://h:0", "socks5://h:65536", "socks5://h:x"),
        *("http://h:1", "socks4://h:1", "h:1", "tor=", "tor=h", "tor=s3cret@h:1", "torx", "tor=h:1/x"),
        *("socks5://:s3cret@h:1", "socks5://h:1/s3cret", "socks5://h:1?s3cret", "socks5://[::1:s3cret"),
        *(f"socks5://u:{'s3cret' * 43}@h:1", "socks5://u:s3cret@h\0:1", "socks5://u:s3cret@hö:1", "\0"),
    ],
)
def test_what_names_no_proxy_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_via(text)
    assert "socks5://HOST:PORT" in str(raised.value)
    assert "s3cret" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_no_secret_and_no_address_in_a_repr() -> None:
    assert repr(parse_via("socks5://me:s3cret@proxy.example:1080")) == "Via(tor=False)"


def test_only_text_names_a_proxy() -> None:
    with pytest.raises(TypeError, match="not by int"):
        parse_via(9050)  # type: ignore[arg-type]


def test_tor_gets_credentials_of_their_own_for_each_destination_and_run() -> None:
    ours = Credentials(parse_via("tor"), seeded(1))
    one = ours.to("192.0.2.1", 9001)
    assert one is not None
    assert one == ours.to("192.0.2.1", 9001)
    others = [
        ours.to("192.0.2.1", 9002),
        ours.to("192.0.2.2", 9001),
        Credentials(parse_via("tor"), seeded(2)).to("192.0.2.1", 9001),
    ]
    assert len({one, *others}) == 4
    assert all(0 < len(part) <= 255 for part in one)


def test_another_proxy_gets_what_was_given_and_nothing_else() -> None:
    assert Credentials(parse_via("socks5://h:1"), seeded(1)).to("a", 1) is None
    assert Credentials(parse_via("socks5://me:pw@h:1"), seeded(1)).to("a", 1) == (b"me", b"pw")
