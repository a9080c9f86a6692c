"""Why something was dropped, refused or ended: every reason has a name and one sentence (SPEC 17).

A wrong cell, frame or message is answered with silence, so what stays is a number under a name on our side:
`core/base/drops.py` counts, `statistics()` shows. The sentence is for whoever runs the program. It says what
happened and, where a person can do something about it, what. The other side never learns any of this.

Names are lowercase words joined by hyphens. They are written into logs and statistics that scripts read, so
a name that is given stays.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """One reason. Its value is the name; `sentence` is for people."""

    sentence: str

    def __new__(cls, name: str, sentence: str) -> Reason:
        reason = str.__new__(cls, name)
        reason._value_ = name
        reason.sentence = sentence
        return reason

    # Links.

    CONNECTION_FAILED = "connection-failed", "No connection to a relay could be made; its log line says more."
    FRAME_OPEN = "frame-open", "A link frame was changed on its way, or sealed with another key."
    FRAME_SIZE = "frame-size", "A link frame was of a length that no frame has."
    FRAME_TIMEOUT = "frame-timeout", "The rest of a link frame did not come in time."
    INTERNAL_FAULT = (
        "internal-fault",
        "A fault of this program; please report the log line that goes with it.",
    )
    LINK_AUTH_DIRECTION = "link-auth-direction", "The side that was dialled sent a proof of identity."
    LINK_AUTH_SHAPE = "link-auth-shape", "A proof of identity on a link was not laid out as it should be."
    LINK_BROKEN = "link-broken", "A connection broke while something was being sent."
    LINK_CLOSED = "link-closed", "The link that a circuit used has ended, and the circuit with it."
    LINK_COMMAND = (
        "link-command",
        "A cell that belongs to no circuit had a command that is not allowed there.",
    )
    LINK_ENDED = "link-ended", "The other side closed the connection."
    LINK_FAULTY = "link-faulty", "A link was ended because a fault of this program had hit it."
    LINK_IDLE = "link-idle", "No circuit had used the link for a while."
    LINK_NOT_OPEN = "link-not-open", "This program tried to send over a link that was not open."
    LINK_RATE = "link-rate", "One address opened links faster than allowed."
    LINK_SETUP_TIMEOUT = "link-setup-timeout", "A link was not set up in time."
    LINK_SILENT = "link-silent", "Nothing came over the link for so long that it counted as dead."
    LINK_STUCK = "link-stuck", "The other side took nothing from the link for too long."
    LINKS_PER_ADDRESS = "links-per-address", "One address wanted more links than it may have."
    NO_ROOM = (
        "no-room",
        "The idlest link made room for a new one; raise the limit of open files if this is often.",
    )
    NODE_CLOSED = "node-closed", "This program was closing, or was not running."

    # Cells and circuits.

    ANSWER_TIMEOUT = "answer-timeout", "A relay did not answer a request in time."
    CANCELLED = "cancelled", "The circuit was no longer wanted while it was being built."
    CELL_UNRECOGNISED = "cell-unrecognised", "A cell came to the end of its circuit and was for nobody there."
    CIRCUITS_PER_LINK = "circuits-per-link", "One link wanted more circuits than it may have."
    CLOSED = "closed", "The circuit was closed by its user."
    COMMAND_NOT_DUE = "command-not-due", "A circuit got a cell of a kind that was not due."
    CREATE_ID_IN_USE = "create-id-in-use", "A new circuit was to have a number that is in use."
    CREATE_NOT_ALLOWED = (
        "create-not-allowed",
        "A circuit was asked for by someone who may not, or with a wrong number.",
    )
    CREATE_ORDER = "create-order", "The parts of a circuit's handshake came in the wrong order."
    CREATE_QUEUE_FULL = (
        "create-queue-full",
        "So many handshakes waited that another was refused: too much is asked.",
    )
    CREATE_RATE = "create-rate", "Clients asked for circuits faster than allowed."
    CREATE_SIZE = "create-size", "A circuit's handshake was of the wrong length."
    CREATE_UNFINISHED = "create-unfinished", "The rest of a circuit's handshake did not come in time."
    CREATE_WAITED = "create-waited", "A handshake waited for so long that nobody needed its answer any more."
    CREATED_NOT_DUE = "created-not-due", "An answer to a handshake came that nobody had asked for."
    DESTROYED = "destroyed", "The neighbour ended the circuit; this is how most circuits end."
    EARLY_INBOUND = "early-inbound", "A set-up cell came from the wrong direction."
    EARLY_JOINED = "early-joined", "A set-up cell came over a circuit that is already joined."
    EARLY_TOO_MANY = "early-too-many", "A circuit got more set-up cells than any path needs."
    EXTEND_BACKWARD = (
        "extend-backward",
        "A circuit was to be extended to this relay, or back to where it came from.",
    )
    EXTEND_FAILED = "extend-failed", "The next relay of a circuit could not be reached."
    EXTEND_NOT_EARLY = "extend-not-early", "A circuit was to be extended by a cell that may not do that."
    EXTEND_TIMEOUT = "extend-timeout", "The next relay of a circuit did not answer in time."
    EXTEND_TWICE = "extend-twice", "A circuit was to be extended at a relay that had extended it already."
    EXTEND_UNKNOWN_RELAY = (
        "extend-unknown-relay",
        "A circuit was to go on to a relay that is on no list held here.",
    )
    EXTENDED_NOT_DUE = "extended-not-due", "A relay reported an extension that nobody had asked for."
    FINISHED = "finished", "The circuit had done what it was built for."
    HOP_TIMEOUT = "hop-timeout", "A relay did not join a circuit in time."
    JOIN_ENDED = "join-ended", "The other half of a joined circuit has ended."
    JOIN_GONE = "join-gone", "Two circuits were to be joined, and one of them was gone or joined already."
    LAYER_UNRECOGNISED = (
        "layer-unrecognised",
        "A cell came from none of the circuit's relays, or was changed on its way.",
    )
    MEMORY = "memory", "The memory quota was reached, and the circuit or link that held much of it was ended."
    NO_CIRCUIT_ID = "no-circuit-id", "A link has no free number for another circuit."
    NOT_NEEDED = "not-needed", "The circuit was ready when nobody needed it any more."
    POOL_CLOSED = "pool-closed", "Circuits built ahead were of no more use."
    POOL_OLD = "pool-old", "A circuit that was built ahead had become too old to use."
    QUEUE_FULL = "queue-full", "More cells waited on a circuit than its sender may have on the way."
    REFUSALS_UNREAD = "refusals-unread", "The neighbour asks for circuits and reads none of our refusals."
    UNKNOWN_CIRCUIT = (
        "unknown-circuit",
        "A cell was for a circuit that is not known; some come after each circuit's end.",
    )
    UNKNOWN_COMMAND = (
        "unknown-command",
        "A cell was for a circuit that is not known, with a command nobody knows.",
    )
    WINDOW_OVERRUN = "window-overrun", "The other end sent more than it may before it is acknowledged."

    # Messages on a circuit.

    ACK_MISMATCH = "ack-mismatch", "An acknowledgement named a cell that was never sent."
    ACK_NOT_DUE = "ack-not-due", "An acknowledgement came for nothing."
    ACK_SHAPE = "ack-shape", "An acknowledgement was not laid out as it should be."
    CONSENSUS_ASKED_TWICE = (
        "consensus-asked-twice",
        "A circuit asked for the list of relays while it was being sent.",
    )
    CONTINUE_NOT_DUE = "continue-not-due", "A part of a message came that continues none."
    DROP_NOT_DUE = "drop-not-due", "Padding came that nobody had asked for."
    ECHOES_TOO_MANY = "echoes-too-many", "More padding was asked for than set-up may take."
    MESSAGE_INSIDE_MESSAGE = "message-inside-message", "A message began before the one before it was whole."
    MESSAGE_NOT_ACCEPTED = "message-not-accepted", "A message came of a type that is not taken at this point."
    MESSAGE_ON_JOINED_CIRCUIT = (
        "message-on-joined-circuit",
        "A message for this relay came over a circuit that is joined to another.",
    )
    MESSAGE_SHAPE = "message-shape", "A message was not laid out as it should be."
    MESSAGE_SIZE = "message-size", "A message was of a size that its type does not have."
    MESSAGE_TYPE = "message-type", "A message came of a type that this service does not know."
    REPLIES_UNCOLLECTED = "replies-uncollected", "A client asked on and on and did not read the answers."

    # Keys, handshakes, seals.

    ADDRESS_OPENING = "address-opening", "Keys were not those that belong to the address."
    AEAD_OPEN = "aead-open", "Something sealed was changed on its way, or sealed with another key."
    BLINDING = "blinding", "A key could not be blinded for a period."
    HANDSHAKE_AUTH = "handshake-auth", "A relay did not prove that it holds its keys."
    HANDSHAKE_KEM_CIPHERTEXT = "handshake-kem-ciphertext", "The post-quantum part of an answer was not valid."
    HANDSHAKE_KEM_KEY = "handshake-kem-key", "The post-quantum key in a handshake was not valid."
    HANDSHAKE_MAC = "handshake-mac", "A handshake was changed on its way, or was made for another relay."
    HANDSHAKE_SIZE = "handshake-size", "A handshake was of the wrong length."
    HANDSHAKE_UNKNOWN_KEY = (
        "handshake-unknown-key",
        "A handshake was made with an onion key that is not in use here, perhaps from an old list of relays.",
    )
    IDENTITY_SHAPE = (
        "identity-shape",
        "An identity file did not hold an identity; restore it from its backup.",
    )
    KEY_POINT = "key-point", "A public key was not a good point of its curve."
    KEY_SIZE = "key-size", "A key was of the wrong length."
    KEY_SMALL_ORDER = "key-small-order", "A public key was one that gives no secret."
    NONCE_SIZE = "nonce-size", "A nonce was of the wrong length."
    SCALAR = "scalar", "A secret scalar was not valid."
    SCALAR_ZERO = "scalar-zero", "A scalar was zero, which no honest draw gives."
    SEAL_KEY = "seal-key", "A key to seal for was not valid."
    SEAL_OPEN = "seal-open", "Something sealed for this endpoint could not be opened: not for us, or changed."
    SEAL_SIZE = "seal-size", "Something sealed was of the wrong length."
    SIGNATURE = "signature", "A signature did not hold."
    SIGNATURE_SIZE = "signature-size", "A signature was of the wrong length."

    # Documents: descriptors and the list of relays.

    CONSENSUS_DATES = "consensus-dates", "The dates of a list of relays contradict each other."
    CONSENSUS_EXPIRED = (
        "consensus-expired",
        "A list of relays is over: it is an old copy, or the clock here is ahead.",
    )
    CONSENSUS_NETWORK = (
        "consensus-network",
        "A list of relays is of another network; compare the network files.",
    )
    CONSENSUS_NOT_YET = (
        "consensus-not-yet",
        "A list of relays is from the future: look whether the clock here is behind.",
    )
    CONSENSUS_ORDER = (
        "consensus-order",
        "Entries of a list of relays are not in order, or one is there twice.",
    )
    CONSENSUS_ROLLBACK = "consensus-rollback", "A list of relays is older than the one in hand."
    CONSENSUS_ROOT = "consensus-root", "A list of relays does not hash to the value that was signed."
    CONSENSUS_SIGNATURES = (
        "consensus-signatures",
        "Too few authorities of the network file signed a list of relays.",
    )
    CONSENSUS_VERSION = (
        "consensus-version",
        "A list of relays is of a version that this program does not know.",
    )
    DESCRIPTOR_ADDRESS = "descriptor-address", "A relay's address cannot be reached or is not written as one."
    DESCRIPTOR_FAMILY = "descriptor-family", "A relay's family is not in order, or names the relay itself."
    DESCRIPTOR_NICKNAME = "descriptor-nickname", "A relay's nickname has characters that it may not have."
    DESCRIPTOR_OF_ANOTHER = (
        "descriptor-of-another",
        "A relay answered with the descriptor of another address or period.",
    )
    DESCRIPTOR_REVISION = (
        "descriptor-revision",
        "The inside of a descriptor is older or newer than its outside.",
    )
    DESCRIPTOR_VERSION = (
        "descriptor-version",
        "A relay descriptor is of a version that this program does not know.",
    )
    DESCRIPTOR_VERSIONS = "descriptor-versions", "The protocol versions that a relay names are not in order."
    DOCUMENT_EXPIRED = "document-expired", "A descriptor was out of date."
    DOCUMENT_FAR_FUTURE = (
        "document-far-future",
        "A descriptor was to live longer than any may; a clock may be wrong.",
    )
    DOCUMENT_NOT_CANONICAL = (
        "document-not-canonical",
        "A document was not written in the one way in which it may be.",
    )
    DOCUMENT_SHAPE = "document-shape", "A document did not hold what it should."
    DOCUMENT_SIZE = "document-size", "A document was of a size that it may not have."
    DOCUMENT_VERSION = "document-version", "A document is of a version that this program does not know."
    MERKLE_ROOT = "merkle-root", "A proof did not lead to the value that was signed."
    MERKLE_SHAPE = "merkle-shape", "A proof was not laid out as it should be."
    PARAMS_CONTRADICTION = "params-contradiction", "Parameters of the network contradict each other."
    PARAMS_RANGE = "params-range", "A parameter of the network is outside of what is allowed."

    # At a relay: what roles keep.

    REMEMBER_FULL = "remember-full", "What a role wanted to keep was refused: too much waited for the disk."
    NOT_REMEMBERED = "not-remembered", "What a role wanted to keep could not be written; look at the disk."

    # At a relay: meeting points.

    RENDEZVOUS_DISPLACED = (
        "rendezvous-displaced",
        "A visitor who waited had to make room: too many wait here.",
    )
    RENDEZVOUS_EXPIRED = "rendezvous-expired", "Nobody came to a visitor who waited, within ten minutes."
    RENDEZVOUS_SECOND_USE = (
        "rendezvous-second-use",
        "A circuit that waits for its meeting asked for something more.",
    )
    RENDEZVOUS_UNKNOWN_COOKIE = (
        "rendezvous-unknown-cookie",
        "An endpoint came to a meeting for which nobody waits.",
    )

    # At a relay: introducers.

    INTRO_DISPLACED = "intro-displaced", "An endpoint had to make room: too many are introduced here."
    INTRO_KEYS_FULL = "intro-keys-full", "An endpoint was refused: too many are introduced here."
    INTRO_SECOND_USE = (
        "intro-second-use",
        "A circuit asked to be introduced, or to introduce, after it had done so.",
    )
    INTRO_TAKEN_OVER = (
        "intro-taken-over",
        "An endpoint came back over a new circuit, which took the old one's place.",
    )
    INTRODUCE_BUSY = "introduce-busy", "A visitor was refused: its endpoint does not read fast enough."
    INTRODUCE_DIFFERENT = "introduce-different", "A visitor's second try was not the same introduction again."
    INTRODUCE_NO_SUCH_KEY = (
        "introduce-no-such-key",
        "A visitor asked for an endpoint that is not introduced here.",
    )
    INTRODUCE_RATE = "introduce-rate", "An endpoint got more visitors than it may be brought."
    INTRODUCE_TOO_MANY = "introduce-too-many", "A visitor tried more often than it may over one circuit."

    # At a relay: the ring of descriptors.

    FETCH_RATE = "fetch-rate", "More descriptors were asked for over one neighbour than may be."
    PUBLISH_DISPLACED = "publish-displaced", "A descriptor had to make room for another: this relay is full."
    PUBLISH_FULL = "publish-full", "A descriptor was refused: this relay is full."
    PUBLISH_RATE = "publish-rate", "More descriptors were published over one neighbour than may be."
    PUBLISH_REFUSED = "publish-refused", "A descriptor was not this relay's to keep."
    PUBLISH_STALE = "publish-stale", "A descriptor was not newer than the one that is kept."
    RING_TOO_MANY = "ring-too-many", "A circuit made more requests for descriptors than it may."

    # At an endpoint: introducers and introductions.

    INTRODUCE_AUTH_KEY = "introduce-auth-key", "An introducer brought what was for another endpoint."
    INTRODUCE_KIND = "introduce-kind", "An introduction was of a kind that this program does not know."
    INTRODUCE_PERIOD = (
        "introduce-period",
        "An introduction was made for a period that is over or has not begun.",
    )
    INTRODUCE_RECORD = "introduce-record", "What came with an introduction was not laid out as it should be."
    INTRODUCE_REPLAYED = "introduce-replayed", "An introduction came that had come before."
    INTRODUCE_SIZE = "introduce-size", "An introduction was of the wrong length inside its seal."
    INTRODUCER_FAILED = "introducer-failed", "An introducer let our own tests down and was replaced."
    INTRODUCER_FLOODS = (
        "introducer-floods",
        "An introducer brought more than any visitors could send: replaced.",
    )
    INTRODUCER_JUNK = "introducer-junk", "An introducer brought much that does not open, and was replaced."
    INTRODUCER_KEPT = "introducer-kept", "An introducer was kept because too many had been replaced already."
    INTRODUCER_LEFT = "introducer-left", "An introducer has left the network, and another took its place."
    INTRODUCER_NOT_HAD = "introducer-not-had", "A circuit to an introducer led to nothing."
    INTRODUCER_OVER = "introducer-over", "The time with an introducer was over."
    INTRODUCER_REFUSED = "introducer-refused", "A relay did not want to introduce us."
    INTRODUCER_UNLISTED = "introducer-unlisted", "An introducer is not on the list of relays any more."
    INTRODUCTIONS_WAITING = "introductions-waiting", "An introduction was dropped because too many waited."
    RENDEZVOUS_FAILED = "rendezvous-failed", "The meeting point of a visitor could not be reached."
    RENDEZVOUS_TIMEOUT = "rendezvous-timeout", "The meeting with a visitor could not be arranged in time."
    RENDEZVOUS_UNKNOWN_RELAY = (
        "rendezvous-unknown-relay",
        "A visitor waits at a relay that is on no list held here.",
    )

    # Whispers, receipts, and the circuits that carry them.

    CONTACT_CLOSED = "contact-closed", "The contact was closed."
    ENDPOINT_CLOSED = "endpoint-closed", "The endpoint was closed."
    EXCHANGE_OVER = "exchange-over", "The circuit that carried whispers has ended."
    EXCHANGES_MOST = "exchanges-most", "The visitor who was quiet longest made room: too many were here."
    IDLE = "idle", "Nothing was said over the circuit for a while."
    NOT_CONNECTED = "not-connected", "A try to reach an endpoint failed, and its circuits were given up."
    NOT_KEPT = (
        "not-kept",
        "A whisper could not be written to disk and was not acknowledged; look at the disk.",
    )
    RECEIPT_LATE = "receipt-late", "A receipt did not come in time, so another circuit is tried."
    RECORD_BODY = "record-body", "A receipt or refusal had a body that it may not have."
    RECORD_EXPIRED = "record-expired", "A whisper came after its time; the clock here or there may be wrong."
    RECORD_EXPIRED_WAITING = "record-expired-waiting", "A whisper's time ended while it waited for room here."
    RECORD_FAR_FUTURE = (
        "record-far-future",
        "A whisper was to live longer than any may; a clock may be wrong.",
    )
    RECORD_KIND = "record-kind", "A record was neither whisper, receipt nor refusal."
    RECORD_LENGTH = "record-length", "A record said another length than it had."
    RECORD_PADDING = "record-padding", "A record was not filled up with zeros."
    RECORD_SIZE = "record-size", "A record was of a size that no record has."
    RENDEZVOUS_REFUSED = "rendezvous-refused", "A relay did not want to be our meeting point."
    WHISPER_GIVEN_UP = (
        "whisper-given-up",
        "A whisper was shown to the program as often as asked and never finished.",
    )
