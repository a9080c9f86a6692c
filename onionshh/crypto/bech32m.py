"""Bech32m, BIP 350: text with a checksum that finds any four wrong characters (SPEC 9).

`encode` and `decode_untrusted` work on bytes; the strings of BIP 350 are tested through `split`, which is
as far as the standard goes without saying what the five-bit groups mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from onionshh.errors import BadAddress

_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUE: Final = {letter: value for value, letter in enumerate(_ALPHABET)}
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CONSTANT: Final = 0x2BC830A3
_CHECKSUM: Final = 6
_MOST: Final = 90


def encode(prefix: str, data: bytes) -> str:
    """`prefix`, "1", the data in groups of five bits, the checksum; lower case."""
    groups = list(_regroup(data, 8, 5))
    return join(prefix, groups)


def decode_untrusted(text: str) -> tuple[str, bytes]:
    """The prefix and the bytes; BadAddress with a sentence that says what is wrong."""
    prefix, groups = split(text)
    spare = len(groups) * 5 % 8
    if spare >= 5 or (groups and groups[-1] & ((1 << spare) - 1)):
        raise BadAddress("This address has stray bits at its end; copy it again, whole.")
    return prefix, bytes(_regroup(groups, 5, 8))[: len(groups) * 5 // 8]


def join(prefix: str, groups: Sequence[int]) -> str:
    """Five-bit groups to text with its checksum."""
    sum_ = _polymod([*_expand(prefix), *groups, *bytes(_CHECKSUM)]) ^ _CONSTANT
    tail = [(sum_ >> 5 * (_CHECKSUM - 1 - i)) & 31 for i in range(_CHECKSUM)]
    return prefix + "1" + "".join(_ALPHABET[group] for group in (*groups, *tail))


def split(text: str) -> tuple[str, list[int]]:
    """The prefix and the five-bit groups of a text whose checksum holds; else BadAddress."""
    if not text.isascii() or not all(33 <= ord(letter) <= 126 for letter in text):
        raise BadAddress("An address has only plain letters and digits, without spaces.")
    if text != text.lower() and text != text.upper():
        raise BadAddress("An address is written in one case; this one mixes capital and small letters.")
    if len(text) > _MOST:
        raise BadAddress(f"This is too long for an address: {len(text)} characters.")
    prefix, one, data = text.lower().rpartition("1")
    if not one or not prefix:
        raise BadAddress("This is no address: nothing stands before a digit 1.")
    if len(data) < _CHECKSUM:
        raise BadAddress("This address is cut off; copy it again, whole.")
    for letter in data:
        if letter not in _VALUE:
            raise BadAddress(f'No address has the character "{letter}" after its first part.')
    groups = [_VALUE[letter] for letter in data]
    if _polymod([*_expand(prefix), *groups]) != _CONSTANT:
        raise BadAddress("The checksum does not hold: a character is wrong or missing; copy it again.")
    return prefix, groups[:-_CHECKSUM]


def _expand(prefix: str) -> list[int]:
    """The prefix as BIP 173 mixes it into the checksum: high bits, a zero, low bits."""
    return [*(ord(letter) >> 5 for letter in prefix), 0, *(ord(letter) & 31 for letter in prefix)]


def _polymod(values: Iterable[int]) -> int:
    """The BCH checksum of BIP 173 over GF(32)."""
    sum_ = 1
    for value in values:
        top = sum_ >> 25
        sum_ = (sum_ & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                sum_ ^= generator
    return sum_


def _regroup(groups: Iterable[int], bits: int, to: int) -> Iterable[int]:
    """Groups of `bits` bits as groups of `to` bits, the last filled with zero bits."""
    held = count = 0
    for group in groups:
        held = held << bits | group
        count += bits
        while count >= to:
            count -= to
            yield held >> count & ((1 << to) - 1)
        held &= (1 << count) - 1
    if count:
        yield held << (to - count) & ((1 << to) - 1)
