"""Bech32m, BIP 350: text with a checksum that finds any four wrong characters (SPEC 9).

`encode` and `decode_untrusted` work on bytes. The standard does not say what the five-bit groups mean, so the
strings of BIP 350 are tested through `split`. People copy such texts by hand, so an error names a wrong
character and its place, counted from 1.
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


class BadChecksum(BadAddress):
    """Every character is allowed, but the checksum does not match."""


def encode(prefix: str, data: bytes) -> str:
    """`prefix`, "1", the data in groups of five bits, the checksum; lower case."""
    groups = list(_regroup(data, 8, 5))
    return join(prefix, groups)


def decode_untrusted(prefix: str, text: str) -> bytes:
    """The bytes of a text with this prefix. BadAddress says what is wrong."""
    _, groups = split(text, prefix)
    spare = len(groups) * 5 % 8
    if spare >= 5 or (groups and groups[-1] & ((1 << spare) - 1)):
        raise BadAddress("This address has extra bits at its end; copy the whole address again.")
    return bytes(_regroup(groups, 5, 8))[: len(groups) * 5 // 8]


def join(prefix: str, groups: Sequence[int]) -> str:
    """The text of five-bit groups, with its checksum."""
    sum_ = _polymod([*_expand(prefix), *groups, *bytes(_CHECKSUM)]) ^ _CONSTANT
    tail = [(sum_ >> 5 * (_CHECKSUM - 1 - i)) & 31 for i in range(_CHECKSUM)]
    return prefix + "1" + "".join(_ALPHABET[group] for group in (*groups, *tail))


def split(text: str, prefix: str | None = None) -> tuple[str, list[int]]:
    """The prefix and the five-bit groups of a text. BadAddress if the checksum is wrong, or the prefix is not
    the given one."""
    for place, letter in enumerate(text, 1):
        if not 33 <= ord(letter) <= 126:
            raise BadAddress(f"An address has only plain letters and digits, not {_named(text, place)}.")
    small = text.lower()
    start = f"{prefix}1" if prefix is not None else small[: small.rfind("1") + 1]
    if len(start) < 2:
        raise BadAddress("This is not an address: it has no text before a digit 1.")
    if not small.startswith(start):
        raise BadAddress(f'An address begins with "{start}", this one with "{text[: len(start)]}".')
    for place, letter in enumerate(small[len(start) :], len(start) + 1):
        if letter not in _VALUE:
            raise BadAddress(f"An address never has {_named(text, place)}.")
    _check_case(text)
    data = small[len(start) :]
    groups = [_VALUE[letter] for letter in data]
    whole = len(data) >= _CHECKSUM and len(text) <= _MOST
    if not whole or _polymod([*_expand(start[:-1]), *groups]) != _CONSTANT:
        raise BadChecksum("The checksum is wrong: a character is wrong or missing; copy the address again.")
    return start[:-1], groups[:-_CHECKSUM]


def _check_case(text: str) -> None:
    """BIP 173 allows one case per text. The error names the first letter of the rarer case."""
    capitals = [place for place, letter in enumerate(text, 1) if letter.isupper()]
    small = [place for place, letter in enumerate(text, 1) if letter.islower()]
    if capitals and small:
        place = min(small, capitals, key=len)[0]
        raise BadAddress(
            "An address is written in one case; this one mixes capital and small letters: see"
            f" {_named(text, place)}."
        )


def _named(text: str, place: int) -> str:
    """A character and its place, for people. A character outside ASCII is named by its number."""
    letter = text[place - 1]
    name = f'"{letter}"' if 33 <= ord(letter) <= 126 else f"U+{ord(letter):04X}"
    before = text[max(0, place - 5) : place - 1]
    after = f', after "{before}"' if before.isascii() and before.isprintable() and before else ""
    return f"the character {name}, which is at place {place}{after}"


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
