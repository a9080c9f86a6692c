"""The file `relay-signing`: the signing key of a relay whose identity is kept away from it (SPEC 8).

It is made where the identity is (relay/master.py), carried to the relay and put into its folder. It has all
that a relay needs to begin: the identity's public half, the signing key, and the certificate. It is checked
whole whenever it is read, since a wrong one would be noticed only by others.
"""

from __future__ import annotations

from pathlib import Path

from onionshh.core.certificate import Certificate, RelaySigner, open_signing_untrusted
from onionshh.crypto.identity import SigningKey
from onionshh.errors import BadData, ProtocolError
from onionshh.geometry import KEY, SIGNATURE
from onionshh.ids import RelayId
from onionshh.net.store import atomic_write, read_file
from onionshh.wire.packing import Bin, Int, fields, pack, unpack_untrusted, version_untrusted

SIGNING_FILE = "relay-signing"
_VERSION = 1
_SHAPE = fields(Int(255), Bin(exact=KEY), Bin(exact=KEY), Int(), Bin(exact=SIGNATURE))
"""Version, identity, seed of the signing key, end of its time, certificate."""
_MOST_BYTES = 1024


def write_signing(path: Path, signer: RelaySigner) -> None:
    """Replace the file. OSError. ValueError for a signer that is an identity itself."""
    certificate = signer.certificate
    if certificate is None:
        raise ValueError("an identity is not a signing key")
    row = (_VERSION, signer.identity, signer.key.seed, certificate.expires, certificate.signature)
    atomic_write(path, pack(row))


def read_signing(path: Path) -> RelaySigner | None:
    """What is in the file, None if there is none. BadData. The end of its time is not looked at."""
    data = read_file(path, _MOST_BYTES, secret=True)
    if data is None:
        return None
    try:
        if version_untrusted(data) not in (_VERSION, None):
            raise BadData(f"{path} was written by another version of onionshh.")
        _, identity, seed, expires, signature = unpack_untrusted(data, _SHAPE, _MOST_BYTES)
        signer = RelaySigner(
            RelayId(identity), key := SigningKey(seed), Certificate(key.public, expires, signature)
        )
        open_signing_untrusted(signer.identity, signer.signing)
    except ProtocolError as error:
        raise BadData(f"{path} is damaged; copy it once more from where it was made.") from error
    return signer
