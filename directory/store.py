"""What an authority keeps on disk: its key, what it knows of the relays, its last consensus (SPEC 8, 10).

    authority   version, the signing seed, the network's name; written once, mode 0600: back this up
    state       version, last valid-after, shared random rows, relays, the last day; replaced whole every
                interval. A state of version 1 or 2 is read too (state_1.py, state_2.py)
    consensus   the last signed document as it was published

`state` goes to disk before the consensus that is made from it is published. So a shared random value that
anyone has seen is never replaced by another after a crash. One process holds the folder at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onionshh import geometry as g
from onionshh.advice import advice
from onionshh.config import (
    NAME_MOST,
    Authority,
    NetworkFile,
    format_network_file,
    good_name,
    parse_network_file,
)
from onionshh.core.trust import read_consensus_untrusted
from onionshh.crypto.identity import SigningKey
from onionshh.directory import state_1, state_2
from onionshh.directory.consensus import RANDOM_KEPT_MOST
from onionshh.directory.entry import Entry
from onionshh.directory.history import POINTS_MOST, Point
from onionshh.directory.registry import MOST_KNOWN
from onionshh.errors import BadData, BadNetworkFile, ProtocolError
from onionshh.ids import RandomBytes
from onionshh.net.store import DataDirectory, atomic_write, read_file
from onionshh.reasons import Reason
from onionshh.wire import descriptor as wire_descriptor
from onionshh.wire.consensus import Consensus, SharedRandom
from onionshh.wire.packing import Bin, Int, ListOf, Text, fields, pack, unpack_untrusted, version_untrusted

AUTHORITY_VERSION = 1
STATE_VERSION = 3
STATE_MAX = 64 * 1024 * 1024

_AUTHORITY = fields(Int(255), Bin(g.KEY), Text(NAME_MOST))
_STATE = fields(
    Int(255),  # version
    Int(),  # last valid-after
    ListOf(fields(Int(), Bin(g.HASH), Int()), RANDOM_KEPT_MOST),
    ListOf(
        fields(
            Bin(most=wire_descriptor.DESCRIPTOR_MAX),  # newest descriptor
            Bin(most=wire_descriptor.DESCRIPTOR_MAX),  # the one that answered; empty for none
            Int(),  # heard
            Int(),  # first seen
            Int(),  # last good check
            Int(),  # failures in a row
            Text(1000),  # why the last check failed
            Int(),  # last check
            Int(),  # answers since
            Int(),  # listed or not since
            ListOf(Text(1000), wire_descriptor.ADDRESSES_MOST),  # why not, at each address; empty: it did
        ),
        MOST_KNOWN,
    ),
    ListOf(fields(Int(), Int(), Int(), Int(), Int(), Int()), POINTS_MOST),  # history, a Point each
)


@dataclass(frozen=True, slots=True)
class KeptState:
    """What survives a restart. `valid_after` is that of the last consensus, 0 before the first.
    `shared_random` has rows of distinct periods, those needed last first."""

    valid_after: int = 0
    shared_random: tuple[SharedRandom, ...] = ()
    entries: tuple[Entry, ...] = ()
    history: tuple[Point, ...] = ()

    def encode(self) -> bytes:
        """The bytes for the disk. Encoding is apart from writing, so that no thread sees a relay change."""
        rows = [
            (
                entry.newest.encode_body(),
                entry.checked.encode_body() if entry.checked is not None else b"",
                entry.heard,
                entry.first_seen,
                entry.last_good,
                entry.failures,
                entry.why,
                entry.tested,
                entry.up_since,
                entry.turned,
                [entry.missed.get(address, "") for address in entry.newest.addresses] if entry.missed else (),
            )
            for entry in self.entries
        ]
        return pack((STATE_VERSION, self.valid_after, self.shared_random, rows, self.history))


class AuthorityStore:
    """The folder of one authority, held by one process. `create_or_open` makes it."""

    def __init__(self, folder: DataDirectory, key: SigningKey, network: NetworkFile) -> None:
        self.folder = folder
        self.key = key
        self.network = network

    def load_state(self) -> KeptState:
        """The state that was saved last, by this version or an earlier one. BadData when it is damaged."""
        path = self.folder / "state"
        data = read_file(path, STATE_MAX)
        if data is None:
            return KeptState()
        try:
            version = version_untrusted(data)
            if version == state_1.VERSION:
                data, version = state_1.brought_up_untrusted(data), state_2.VERSION
            if version == state_2.VERSION:
                data, version = state_2.brought_up_untrusted(data), STATE_VERSION
            if version is None:
                raise ProtocolError(Reason.DOCUMENT_SHAPE)
            if version != STATE_VERSION:
                raise BadData(_other_version(path, version, STATE_VERSION))
            _, valid_after, random, rows, history = unpack_untrusted(data, _STATE, STATE_MAX)
            return KeptState(
                valid_after,
                tuple(map(SharedRandom._make, random)),
                tuple(_entry(*row) for row in rows),
                tuple(map(Point._make, history)),
            )
        except ProtocolError as error:
            raise BadData(
                f"{path} is damaged. Restore it from a backup, or move it away and the relays will be"
                " checked anew."
            ) from error

    def save_state(self, data: bytes) -> None:
        """Replace the saved state by this encoded one. It is on disk when this returns. OSError."""
        atomic_write(self.folder / "state", data)

    def load_consensus(self) -> Consensus | None:
        """The last consensus published, None if there is none that can be read."""
        data = read_file(self.folder / "consensus", g.CONSENSUS_MAX)
        if data is None:
            return None
        try:
            return read_consensus_untrusted(data, self.network)
        except ProtocolError:
            return None

    def save_consensus(self, document: bytes) -> None:
        """Replace the saved consensus. OSError."""
        atomic_write(self.folder / "consensus", document, mode=0o644)


@contextmanager
def create_or_open(
    data: Path, network_path: Path, *, url: str, random_bytes: RandomBytes, name: str | None = None
) -> Iterator[AuthorityStore]:
    """The authority of this data folder, held until the block ends.

    The first start makes the key and writes the network file, with `url` and `name` (a random one if None).
    Later starts check that the network file is this authority's, or write it again if it is gone. To make a
    network file for several authorities, join their files by hand. Raises DataInUse, BadData or
    BadNetworkFile, each with a sentence that says what to do.
    """
    if name is not None and not good_name(name):
        raise BadNetworkFile(f"A network's name is 1 to {NAME_MOST} letters, digits, blanks, dots or dashes.")
    folder = DataDirectory(data)
    with folder.lock():
        network = _read_network(network_path)
        key_path = folder / "authority"
        kept = read_file(key_path, secret=True)
        if kept is None:
            if network is not None:
                raise BadNetworkFile(
                    f"{network_path} belongs to another directory: {data} holds no key yet. Give the --data"
                    " folder that made it, or another --network file to be written."
                )
            key = SigningKey.generate(random_bytes)
            name = name or f"onionshh-{random_bytes(4).hex()}"
            _write(key_path, pack((AUTHORITY_VERSION, key.seed, name)), 0o600)
        else:
            key, kept_name = _read_key(key_path, kept)
            if name is not None and name != kept_name:
                raise BadNetworkFile(
                    f"{data} is the directory of the network {kept_name!r}, not {name!r}; give another --data"
                    " folder for another network."
                )
            name = kept_name
        if network is None:
            network = NetworkFile(name, 1, (Authority(url.rstrip("/"), key.public),))
            _write(network_path, format_network_file(network).encode(), 0o644)
        if key.public not in network.keys or network.name != name:
            raise BadNetworkFile(
                f"{network_path} is not the network file of {data}: the name or the key differs. Move it away"
                " and it will be written anew, or give another --network file."
            )
        yield AuthorityStore(folder, key, network)


def read_authority(folder: DataDirectory) -> AuthorityStore | None:
    """The authority of this folder as it is on disk, under a made-up URL; None if there is none. BadData."""
    path = folder / "authority"
    data = read_file(path, secret=True)
    if data is None:
        return None
    key, name = _read_key(path, data)
    return AuthorityStore(folder, key, NetworkFile(name, 1, (Authority("http://127.0.0.1", key.public),)))


def _read_network(path: Path) -> NetworkFile | None:
    try:
        data = read_file(path)
        return None if data is None else parse_network_file(data)
    except BadData as error:
        raise BadNetworkFile(f"{path} cannot be read as a network file; move it away.") from error


def _read_key(path: Path, data: bytes) -> tuple[SigningKey, str]:
    try:
        version, seed, name = unpack_untrusted(data, _AUTHORITY, len(data))
    except ProtocolError as error:
        raise BadData(
            f"{path} is damaged. Restore it from a backup: without it nobody can sign for this network."
        ) from error
    if version != AUTHORITY_VERSION:
        raise BadData(_other_version(path, version, AUTHORITY_VERSION))
    return SigningKey(seed), name


def _write(path: Path, data: bytes, mode: int) -> None:
    try:
        atomic_write(path, data, mode)
    except OSError as error:
        raise BadData(f"Cannot write {path}: {error.strerror}{advice(error)}.") from error


def _other_version(path: Path, version: int, known: int) -> str:
    return f"{path} was written by another version of onionshh (format {version}, not {known})."


def _entry(newest: bytes, checked: bytes, heard: int, *rest: Any) -> Entry:
    decode = wire_descriptor.decode_body_untrusted
    *between, whys = rest
    made = Entry(decode(newest), heard, decode(checked) if checked else None, *between)
    made.missed = {address: why for address, why in zip(made.newest.addresses, whys, strict=False) if why}
    return made
