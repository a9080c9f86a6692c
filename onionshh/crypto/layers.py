"""Onion layers: the chained state around UIV+, at a relay and at a circuit's ends (SPEC 3).

Each hop and direction has keys 64, nonce N 16 and chain T 16 (bytes). T is the tag of the previous cell, so
nobody can drop, double or reorder cells. A cell is for the node that finds the cell's tag equal to N. A relay
only enciphers. The client deciphers: the innermost hop first going out, the nearest first coming in. After
each of its own cells an end takes new keys (`renew`): outbound from the old N, inbound from the cell's tag.

After a join at the rendezvous point the visitor has one hop more. The endpoint acts as that hop: it
enciphers under the end-to-end layer after (inbound) or before (outbound) its own hops.

A body is passed as its two parts, the tag of 16 bytes and the rest of 493, as the cipher takes it.
`RelayLayer.outbound` and `encrypt` are the hottest lines of the project. There is one call per cell, of
about 1 µs with the compiled cipher, which makes no object except the two parts it returns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Final, Generic, TypeVar

from onionshh.crypto.uiv import CIPHER, Cipher, Decryptor, Encryptor
from onionshh.errors import CryptoError
from onionshh.geometry import BODY, LAYER_KEYS, LAYER_STATE, PAYLOAD, TAG
from onionshh.reasons import Reason

AnyCipher = TypeVar("AnyCipher", Encryptor, Decryptor)

_COMMAND: Final = tuple(bytes((command,)) for command in range(256))
_FIRST_CHAIN: Final = bytes(TAG)


class Layer(Generic[AnyCipher]):
    """Keys, N and T of one hop and direction. `make`: the cipher for keys."""

    __slots__ = ("_cipher", "_make", "chain", "keys", "nonce")

    def __init__(self, state: bytes, make: Callable[[bytes], AnyCipher]) -> None:
        if len(state) != LAYER_STATE:
            raise ValueError(f"an onion layer's state is {LAYER_STATE} bytes")
        self._make: Callable[[bytes], AnyCipher] = make
        self._cipher: AnyCipher | None = None
        self.keys = state[:LAYER_KEYS]
        self.nonce = state[LAYER_KEYS:]
        self.chain = _FIRST_CHAIN

    @property
    def at_rest(self) -> bool:
        """Whether this layer holds no cipher context."""
        return self._cipher is None

    def renew(self, seed: bytes) -> None:
        """Update: take new keys and a new nonce, and forget the old ones."""
        state = (self._cipher or self._wake()).next_state(seed)
        self.keys = state[:LAYER_KEYS]
        self.nonce = state[LAYER_KEYS:]
        self._cipher = None

    def rest(self) -> None:
        """Drop the cipher contexts (some kilobytes). The next cell makes them again."""
        self._cipher = None

    def _wake(self) -> AnyCipher:
        cipher: AnyCipher = self._make(self.keys)
        self._cipher = cipher
        return cipher


class RelayLayer(Layer[Encryptor]):
    """A relay's side of a layer, and the endpoint's side of the end-to-end layer."""

    __slots__ = ()

    def encrypt(self, command: int, tag: bytes, rest: bytes) -> tuple[bytes, bytes]:
        """c = Enc(T‖AD, c); T = c[:16]."""
        cipher = self._cipher or self._wake()
        self.chain, rest = cipher.encrypt(self.chain + _COMMAND[command], tag, rest)
        return self.chain, rest

    def outbound(self, command: int, tag: bytes, rest: bytes) -> tuple[bytes, bytes, bool]:
        """A cell from the client's side: (its two parts after our layer, whether it is for us).

        If the cell is ours, the rest of the result is the payload. The tag to acknowledge is the one that
        arrived (SPEC 7). If not, the result goes on unchanged: to the next hop, or after a join into
        `encrypt` of the other circuit's backward layer.
        """
        cipher = self._cipher or self._wake()
        tag, rest = cipher.encrypt(self.chain + _COMMAND[command], tag, rest)
        self.chain = tag
        if compare_digest(tag, self.nonce):
            self.renew(self.nonce)
            return tag, rest, True
        return tag, rest, False

    def originate(self, command: int, payload: bytes) -> tuple[bytes, bytes]:
        """Our own cell towards the client: its tag and the rest."""
        tag, rest = self.encrypt(command, self.nonce, payload)
        self.renew(tag)
        return tag, rest


class _ClientLayer(Layer[Decryptor]):
    """The client's side of a layer."""

    __slots__ = ()

    def decrypt(self, command: int, tag: bytes, rest: bytes) -> tuple[bytes, bytes]:
        """t = c[:16]; c = Dec(T‖AD, c); T = t."""
        cipher = self._cipher or self._wake()
        chain, self.chain = self.chain, tag
        return cipher.decrypt(chain + _COMMAND[command], tag, rest)


class RelayLayers:
    """One circuit's two layers at a relay. The link's framing guarantees parts of 16 and 493 bytes."""

    __slots__ = ("backward", "forward")

    def __init__(self, forward: bytes, backward: bytes, cipher: Cipher = CIPHER) -> None:
        self.forward = RelayLayer(forward, cipher.encryptor)
        self.backward = RelayLayer(backward, cipher.encryptor)

    def outbound(self, command: int, tag: bytes, rest: bytes) -> tuple[bytes, bytes, bool]:
        """A cell from the client's side: `RelayLayer.outbound` of the forward layer."""
        return self.forward.outbound(command, tag, rest)

    def inbound(self, command: int, tag: bytes, rest: bytes) -> tuple[bytes, bytes]:
        """A cell towards the client that passes through: its two parts after our layer."""
        return self.backward.encrypt(command, tag, rest)

    def originate(self, command: int, payload: bytes) -> tuple[bytes, bytes]:
        """Our own cell towards the client, from 493 bytes: the tag to expect, and the rest."""
        return self.backward.originate(command, _exactly(payload, PAYLOAD))

    def rest(self) -> None:
        """Drop the cipher contexts of a quiet circuit. Keys, N and T stay."""
        self.forward.rest()
        self.backward.rest()

    @property
    def resting(self) -> bool:
        """Whether both directions hold no cipher context."""
        return self.forward.at_rest and self.backward.at_rest

    def __repr__(self) -> str:
        return "RelayLayers()"


@dataclass(frozen=True, slots=True)
class _Hop:
    forward: _ClientLayer = field(repr=False)
    backward: _ClientLayer = field(repr=False)


class ClientLayers:
    """All layers of a circuit at the end that built it. Hops count from 0, the nearest.

    A cell that no layer recognises makes this object dead. Every later call raises CryptoError, and the
    circuit can only be ended.
    """

    __slots__ = ("_cipher", "_dead", "_end_in", "_end_out", "_joined", "hops")

    def __init__(self, cipher: Cipher = CIPHER) -> None:
        self._cipher = cipher
        self.hops: list[_Hop] = []
        """The relays' layers, the first relay first."""
        self._end_in: RelayLayer | None = None
        self._end_out: RelayLayer | None = None
        self._joined = False
        self._dead = False

    def __len__(self) -> int:
        """From how many layers cells can come: the hops, and the end-to-end layer after a join."""
        return len(self.hops) + (self._end_in is not None)

    def __repr__(self) -> str:
        return f"ClientLayers(hops={len(self.hops)}, joined={self._joined})"

    def add_hop(self, forward: bytes, backward: bytes) -> None:
        """Add a relay, with the 80 bytes per direction from its handshake."""
        if self._joined:
            raise ValueError("a joined circuit does not grow")
        self.hops.append(
            _Hop(
                _ClientLayer(forward, self._cipher.decryptor), _ClientLayer(backward, self._cipher.decryptor)
            )
        )

    def join_as_visitor(self, forward: bytes, backward: bytes) -> None:
        """Add the end-to-end layer as one more hop; its index is `len` before the call."""
        self.add_hop(forward, backward)
        self._joined = True

    def join_as_endpoint(self, forward: bytes, backward: bytes) -> None:
        """The other side of `join_as_visitor`, with the same arguments and the same index."""
        if self._joined:
            raise ValueError("a joined circuit does not join again")
        self._end_in = RelayLayer(forward, self._cipher.encryptor)
        self._end_out = RelayLayer(backward, self._cipher.encryptor)
        self._joined = True

    def send(self, hop: int, command: int, payload: bytes) -> tuple[bytes, bytes]:
        """(The body to send, the tag this hop will acknowledge with), from 493 bytes."""
        self._alive()
        _exactly(payload, PAYLOAD)
        hops = self.hops
        if hop == len(hops) and self._end_out is not None:
            left, rest = self._end_out.originate(command, payload)
            tag = left
        elif 0 <= hop < len(hops):
            layer = hops[hop].forward
            nonce = layer.nonce
            left, rest = layer.decrypt(command, nonce, payload)
            tag = left
            layer.renew(nonce)
            hop -= 1
        else:
            raise ValueError(f"no hop {hop}")
        for passed in reversed(hops[: hop + 1]):
            left, rest = passed.forward.decrypt(command, left, rest)
        return left + rest, tag

    def receive(self, command: int, body: bytes) -> tuple[int, bytes, bytes]:
        """(Which hop, its payload of 493 bytes, the tag to acknowledge with).

        CryptoError if no layer recognises the cell, and for every call after that.
        """
        self._alive()
        if len(body) != BODY:
            raise self._failed()
        left, rest = body[:TAG], body[TAG:]
        for hop, layers in enumerate(self.hops):
            layer = layers.backward
            tag = left
            left, rest = layer.decrypt(command, tag, rest)
            if compare_digest(left, layer.nonce):
                layer.renew(tag)
                return hop, rest, tag
        end = self._end_in
        if end is not None:
            tag = left
            left, rest = end.encrypt(command, tag, rest)
            if compare_digest(left, end.nonce):
                end.renew(end.nonce)
                return len(self.hops), rest, tag
        raise self._failed()

    def _alive(self) -> None:
        if self._dead:
            raise CryptoError(Reason.LAYER_UNRECOGNISED)

    def _failed(self) -> CryptoError:
        self._dead = True
        return CryptoError(Reason.LAYER_UNRECOGNISED)


def _exactly(payload: bytes, size: int) -> bytes:
    if len(payload) != size:
        raise ValueError(f"{size} bytes, not {len(payload)}")
    return payload
