"""Every fixed size in bytes, derived from two: the cell's body and the onion layer's tag.

`tests/test_geometry.py` checks the sums: an EXTEND takes three cells, INTRODUCE1 six, a 256-byte whisper one.
No other file in the source writes a size as a plain number (SPEC 2, 4, 5, 10, 11, 13).
"""

from __future__ import annotations

# The two base sizes.
BODY = 509
TAG = 16

# Cells (SPEC 2): circuit id ‖ command ‖ body.
CIRCUIT_ID = 4
COMMAND = 1
CELL_HEADER = CIRCUIT_ID + COMMAND
CELL = CELL_HEADER + BODY
PAYLOAD = BODY - TAG
HEAD = 4
DATA = PAYLOAD - HEAD

# Keys and primitives.
KEY = 32
POINT = 32
SIGNATURE = 64
HASH = 32
MAC = 32
AEAD_TAG = 16
AEAD_NONCE = 12
KEM_KEY = 1184
KEM_CIPHERTEXT = 1088
PQ_KEY = 1952
PQ_SIGNATURE = 3309

# Onion layers (SPEC 3): KB 16 ‖ KU 16 ‖ K 16 ‖ B 16, then the nonce N.
LAYER_KEYS = 64
LAYER_STATE = LAYER_KEYS + TAG

# The handshake hs3h (SPEC 4), without the encrypted message that rides along.
HANDSHAKE_CLIENT = KEY + POINT + POINT + KEM_KEY + MAC
HANDSHAKE_SERVER = POINT + KEM_CIPHERTEXT + MAC
BINDING = 32

LINK_CLIENT_MESSAGE = 230
LINK_SERVER_MESSAGE = 390
LINK_FLIGHT = HANDSHAKE_CLIENT + LINK_CLIENT_MESSAGE
LINK_KEYSTREAM = KEY + KEY + BINDING

CIRCUIT_MESSAGE = 16
CREATE_CELLS = 3
CIRCUIT_CLIENT = HANDSHAKE_CLIENT + CIRCUIT_MESSAGE
CIRCUIT_SERVER = HANDSHAKE_SERVER + CIRCUIT_MESSAGE
CIRCUIT_KEYSTREAM = 2 * LAYER_STATE + BINDING

RENDEZVOUS_CLIENT = HANDSHAKE_CLIENT
RENDEZVOUS_SERVER = HANDSHAKE_SERVER
RENDEZVOUS_KEYSTREAM = 2 * LAYER_STATE + BINDING + KEY

# Link frames (SPEC 5): u16 length ‖ sealed cells.
FRAME_HEADER = 2
FRAME_CELLS = 127
FRAME = FRAME_HEADER + FRAME_CELLS * CELL + AEAD_TAG

# Records (SPEC 13).
WHISPER_ID = 16
RECORD_HEADER = WHISPER_ID + WHISPER_ID + 4 + 1 + 1 + 2
RECORD_SIZES = (256, 1024, 4096, 16384, 65536)
WHISPER_MAX = 65535
PART_HEADER = WHISPER_ID + 4 + 1
REFRESH_BODY = 4 + POINT + KEM_KEY
REFRESHED_BODY = 4 + POINT + KEM_CIPHERTEXT
WAY_BACK_BODY = 1 + 2 * (KEY + KEY + 4)
PROVE_BODY = KEY + 8 + MAC

# Introduction and rendezvous (SPEC 11).
COOKIE = 32
SEED = 32
HPKE_KEY = KEM_KEY + POINT
HPKE_ENC = KEM_CIPHERTEXT + POINT
POW = 40
INTRODUCE_CELLS = 6
INTRODUCE = INTRODUCE_CELLS * DATA
INTRODUCE_HEADER = KEY + 1 + 1 + POW
INTRODUCE_SEALED = INTRODUCE - INTRODUCE_HEADER
INTRODUCE_PLAIN = INTRODUCE_SEALED - HPKE_ENC - AEAD_TAG
INTRODUCE_RECORD = INTRODUCE_PLAIN - (1 + 1 + KEY + SEED + RENDEZVOUS_CLIENT + 2)
RENDEZVOUS_SEALED = RENDEZVOUS_SERVER + AEAD_TAG
RENDEZVOUS1 = COOKIE + RENDEZVOUS_SEALED

# A resumption (SPEC 12): what the introducer sees, then the sealed part, together one cell.
SESSION_TAG = 16
SESSION_ID = 16
RESUME_SALT = 12
RESUME = DATA
RESUME_HEADER = KEY + 1 + SESSION_TAG + RESUME_SALT
RESUME_SEALED = RESUME - RESUME_HEADER
RESUME_PLAIN = RESUME_SEALED - AEAD_TAG

# Endpoint descriptors (SPEC 10).
DESCRIPTOR_PLAIN = 12288
SALT = 16
DESCRIPTOR_HEADER = KEY + 8 + 8 + SALT + KEY + 8 + SIGNATURE
DESCRIPTOR_SEALED = DESCRIPTOR_PLAIN + AEAD_TAG
DESCRIPTOR = DESCRIPTOR_HEADER + DESCRIPTOR_SEALED + SIGNATURE

# The largest size of each kind of message (SPEC 2).
CONTROL_MAX = 4096
RING_MAX = 17408
WHISPER_MESSAGE_MAX = 66560
CONSENSUS_MAX = 4 * 1024 * 1024


def cells_for(message_bytes: int) -> int:
    """How many cells a message of this size takes. An empty message takes one too."""
    return max(1, -(-message_bytes // DATA))


def record_size(body_bytes: int) -> int:
    """The padded size of a body: the smallest of `RECORD_SIZES` that holds it."""
    for size in RECORD_SIZES:
        if body_bytes <= size:
            return size
    raise ValueError(f"a record cannot hold {body_bytes} bytes")
