"""The key and the address of a relay's onion service, and who comes over tor."""

from __future__ import annotations

import base64
import hashlib
import stat
from pathlib import Path

import pytest

from onionshh.errors import BadData
from onionshh.net.onion import KEY_FILE, PORT, STRANGERS, OnionKey, OverTorListener
from onionshh.net.store import DataDirectory
from onionshh.net.tcp import TcpDialer
from onionshh.wire.descriptor import ONION
from onionshh.wire.packing import pack
from tests.seeded import seeded


def test_the_address_is_that_of_the_key_and_stays(tmp_path: Path) -> None:
    folder = DataDirectory(tmp_path)
    key = OnionKey.load_or_create(folder, seeded(1))
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    again = OnionKey.load_or_create(folder, seeded(2))
    assert (again.host, again.for_tor()) == (key.host, key.for_tor())
    assert key.address == (ONION, key.host, PORT)
    assert len(key.host) == 56 + len(".onion")
    other = OnionKey(seeded(3)(32))
    assert other.host != key.host


def test_a_known_answer() -> None:
    """The public key of this seed is that of RFC 8032; the rest is tor's rend-spec-v3, 6."""
    key = OnionKey(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    raw = base64.b32decode(key.host.removesuffix(".onion").upper())
    assert (raw[:32], raw[34]) == (public, 3)
    assert raw[32:34] == hashlib.sha3_256(b".onion checksum" + public + b"\x03").digest()[:2]
    expanded = base64.b64decode(key.for_tor())
    assert len(expanded) == 64
    assert (expanded[0] & 7, expanded[31] & 192) == (0, 64)


def test_nothing_of_the_key_is_shown() -> None:
    key = OnionKey(bytes(32))
    assert repr(key) == "OnionKey()"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is damaged"),
        (b"junk", "is damaged"),
        (pack([1, bytes(31)]), "is damaged"),
        (pack([1, bytes(32)]) + b"\0", "is damaged"),
        (pack([2, bytes(32)]), "another version"),
    ],
)
def test_a_file_that_cannot_be_used_is_not_replaced(tmp_path: Path, data: bytes, said: str) -> None:
    folder = DataDirectory(tmp_path)
    (tmp_path / KEY_FILE).write_bytes(data)
    with pytest.raises(BadData, match=said):
        OnionKey.load_or_create(folder, seeded(1))
    assert (tmp_path / KEY_FILE).read_bytes() == data


async def test_who_comes_over_tor_counts_as_a_few_strangers_and_as_nobody_else() -> None:
    listener = OverTorListener()
    hosts = []
    for _ in range(2 * STRANGERS):
        near = await TcpDialer().dial(*listener.address)
        far = await listener.accept()
        hosts.append(far.host)
        near.close()
        far.close()
    listener.close()
    assert hosts[:STRANGERS] == hosts[STRANGERS:] == [f"tor {number}" for number in range(STRANGERS)]
    assert listener.address[0] == "127.0.0.1"
