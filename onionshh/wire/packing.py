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
    """Bytes: exactly `exact` of them, or at most `most`."""

    exact: int | None = None
    most: int = 0


@dataclass(frozen=True, slots=True)
class Text:
    """UTF-8 text of at most `most` characters, printable."""

    most: int


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


Shape = Int | Bin | Text | ListOf | Fields


def fields(*items: Shape) -> Fields:
    """A `Fields` from its parts, written as a row."""
    return Fields(items)


def pack(value: Any) -> bytes:
    """The one encoding of nested lists or tuples of int, bytes and str."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


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
    match shape:
        case Fields(items=items):
            if source.read_array_header() == len(items):
                return tuple([_read(source, item) for item in items])
        case ListOf(item=item, least=least, most=most):
            count = source.read_array_header()
            if least <= count <= most:
                return tuple([_read(source, item) for _ in range(count)])
        case Int(most=most):
            value = source.unpack()
            if type(value) is int and 0 <= value <= most:
                return value
        case Bin(exact=exact, most=most):
            value = source.unpack()
            if type(value) is bytes and (len(value) == exact if exact is not None else len(value) <= most):
                return value
        case Text(most=most):
            value = source.unpack()
            if type(value) is str and len(value) <= most and (value == "" or value.isprintable()):
                return value
    raise ProtocolError(Reason.DOCUMENT_SHAPE)
