"""The strict subset of msgpack that documents are written in, and the only importer of msgpack (SPEC 2).

It has arrays of fixed shape, shortest integers ≥ 0, bin for bytes, and str only where the shape says so. It
has no maps, no floats, no nil and no extension types. A document is decoded against its shape, encoded again
and compared with the received bytes. So every value has exactly one encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack

from onionshh.errors import ProtocolError
from onionshh.reasons import Reason


@dataclass(frozen=True, slots=True)
class Int:
    """An integer from 0 to `most`."""

    most: int = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Bin:
    """Bytes: exactly `exact` of them, or at most `most`. `or_empty`: none at all are right too."""

    exact: int | None = None
    most: int = 0
    or_empty: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """UTF-8 text of at most `most` characters, printable. `ascii`: nothing but ASCII."""

    most: int
    ascii: bool = False


@dataclass(frozen=True, slots=True)
class ListOf:
    """From `least` to `most` items of one shape."""

    item: Shape
    most: int
    least: int = 0


@dataclass(frozen=True, slots=True)
class Fields:
    """A fixed row of fields, each with its shape."""

    items: tuple[Shape, ...]


_SHORT_ROW = 9
"""The high half of the byte before a row of at most 15 fields; the low half is their number."""
_LONG_NUMBER = 128
"""A smaller number is its own byte."""

Shape = Int | Bin | Text | ListOf | Fields


def fields(*items: Shape) -> Fields:
    """A `Fields` from its parts, written as a row."""
    return Fields(items)


def pack(value: Any) -> bytes:
    """The one encoding of nested lists or tuples of int, bytes and str."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def version_untrusted(data: bytes) -> int | None:
    """The number that a row of at most 15 fields begins with. None if there is none below 128.

    Nothing else is checked.
    """
    if len(data) < 2 or data[0] >> 4 != _SHORT_ROW or data[1] >= _LONG_NUMBER:
        return None
    return data[1]


def unpack_version_untrusted(
    data: bytes, shape: Fields, most_bytes: int, *, version: int, otherwise: Reason
) -> tuple[Any, ...]:
    """The fields of a row after its first one, which is the version. Raises ProtocolError: `otherwise` for
    another version, whatever its shape is."""
    if version_untrusted(data) not in (None, version):
        raise ProtocolError(otherwise)
    found, *values = unpack_untrusted(data, shape, most_bytes)
    if found != version:
        raise ProtocolError(otherwise)
    return tuple(values)


def unpack_untrusted(data: bytes, shape: Shape, most_bytes: int) -> Any:
    """Nested tuples as `shape` says, or ProtocolError.

    `most_bytes` bounds the work before anything is decoded. A list is opened only where the shape has one,
    and it takes memory only as its items arrive. So a few bytes that announce lists within lists cost little.
    """
    if len(data) > most_bytes:
        raise ProtocolError(Reason.DOCUMENT_SIZE)
    source = msgpack.Unpacker(
        raw=False,
        use_list=False,
        max_buffer_size=max(1, len(data)),
        max_str_len=len(data),
        max_bin_len=len(data),
        max_array_len=0,
        max_map_len=0,
        max_ext_len=0,
    )
    try:
        source.feed(data)
        value = _read(source, shape)
        canonical = pack(value) == data
    except ProtocolError:
        raise
    except Exception as error:  # msgpack raises a dozen types; callers see one
        raise ProtocolError(Reason.DOCUMENT_SHAPE) from error
    if not canonical:
        raise ProtocolError(Reason.DOCUMENT_NOT_CANONICAL)
    return value


def _read(source: msgpack.Unpacker, shape: Shape) -> Any:
    """One value of the shape. A list of relays has a hundred thousand, so the most frequent come first."""
    if isinstance(shape, Int):
        value = source.unpack()
        if type(value) is int and 0 <= value <= shape.most:
            return value
    elif isinstance(shape, Bin):
        value = source.unpack()
        if type(value) is bytes and (
            len(value) == shape.exact
            or (shape.exact is None and len(value) <= shape.most)
            or (shape.or_empty and not value)
        ):
            return value
    elif isinstance(shape, Text):
        value = source.unpack()
        if type(value) is str and _right_text(value, shape):
            return value
    elif isinstance(shape, Fields):
        if source.read_array_header() == len(shape.items):
            return tuple([_read(source, item) for item in shape.items])
    else:
        count = source.read_array_header()
        if shape.least <= count <= shape.most:
            return tuple([_read(source, shape.item) for _ in range(count)])
    raise ProtocolError(Reason.DOCUMENT_SHAPE)


def _right_text(text: str, shape: Text) -> bool:
    if len(text) > shape.most or (shape.ascii and not text.isascii()):
        return False
    return text == "" or text.isprintable()
