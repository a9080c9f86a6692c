"""Why something was dropped, refused or ended: every reason has a name and one sentence (SPEC 17).

A wrong cell, frame or message gets no answer. On our side it is counted under a name: `core/base/drops.py`
counts, `statistics()` shows. The sentence is for the person who runs the program. It says what happened and,
if a person can do something about it, what to do. The other side never learns any of this.

Names are lowercase words joined by hyphens. Scripts read them in logs and statistics, so no name changes.
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

    CERTIFICATE = "certificate", "The certificate of a relay's signing key was not valid."
    CERTIFICATE_OVER = "certificate-over", "The time of a relay's signing key had ended."
    CONNECTION_FAILED = "connection-failed", "No connection to a relay could be made; its log line says more."
    FRAME_OPEN = "frame-open", "A link frame was changed on the way, or sealed with another key."
    FRAME_SIZE = "frame-size", "A link frame had a wrong length."
    FRAME_TIMEOUT = "frame-timeout", "The rest of a link frame did not arrive in time."
    INTERNAL_FAULT = (
        "internal-fault",
        "This program has a fault; please report the log line that belongs to it.",
    )
    LINK_AUTH_DIRECTION = "link-auth-direction", "The listening side of a link sent a proof of identity."
    LINK_AUTH_SHAPE = "link-auth-shape", "A proof of identity on a link had a wrong format."
    LINK_BROKEN = "link-broken", "A connection broke while something was being sent."
    LINK_CLOSED = "link-closed", "The link of a circuit has ended, so the circuit ended too."
    HIBERNATING = "hibernating", "This relay's bytes for the month were used up, or nearly."
    LINK_COMMAND = (
        "link-command",
        "A cell without a circuit had a command that is not allowed there.",
    )
    LINK_ENDED = "link-ended", "The other side closed the connection."
    LINK_FAULTY = "link-faulty", "A link was ended because of a fault of this program."
    LINK_IDLE = "link-idle", "No circuit used the link for a while."
    LINK_NOT_OPEN = "link-not-open", "This program tried to send over a link that was not open."
    LINK_RATE = "link-rate", "One address opened links faster than allowed."
    LINK_SETUP_TIMEOUT = "link-setup-timeout", "A link was not set up in time."
    LINK_SILENT = "link-silent", "Nothing arrived over the link for so long that it counted as dead."
    LINK_STUCK = "link-stuck", "The other side took nothing from the link for too long."
    LINKS_PER_ADDRESS = "links-per-address", "One address wanted more links than it may have."
    NO_ROOM = (
        "no-room",
        "The idlest link made room for a new one; raise the limit of open files if this happens often.",
    )
    NODE_CLOSED = "node-closed", "This program was closing, or was not running."

    # Cells and circuits.

    ANSWER_TIMEOUT = "answer-timeout", "A relay did not answer a request in time."
    CANCELLED = "cancelled", "The circuit was no longer wanted while it was being built."
    CELL_UNRECOGNISED = "cell-unrecognised", "A cell reached the end of its circuit and was for nobody there."
    CIRCUITS_PER_LINK = "circuits-per-link", "One link wanted more circuits than it may have."
    CLOSED = "closed", "The circuit was closed by its user."
    COMMAND_NOT_DUE = "command-not-due", "A circuit got a kind of cell that was not due."
    CREATE_ID_IN_USE = "create-id-in-use", "A new circuit asked for a number that is in use."
    CREATE_NOT_ALLOWED = (
        "create-not-allowed",
        "A circuit was requested by someone who may not, or with a wrong number.",
    )
    CREATE_ORDER = "create-order", "The parts of a circuit's handshake arrived in the wrong order."
    CREATE_QUEUE_FULL = (
        "create-queue-full",
        "A handshake was refused because too many others waited.",
    )
    CREATE_RATE = "create-rate", "Clients asked for circuits faster than allowed."
    CREATE_SIZE = "create-size", "A circuit's handshake had a wrong length."
    CREATE_UNFINISHED = "create-unfinished", "The rest of a circuit's handshake did not arrive in time."
    CREATE_WAITED = "create-waited", "A handshake waited so long that nobody needed its answer any more."
    CREATED_NOT_DUE = "created-not-due", "An answer to a handshake arrived that nobody had asked for."
    DESTROYED = "destroyed", "The neighbour ended the circuit; this is how most circuits end."
    EARLY_INBOUND = "early-inbound", "A set-up cell came from the wrong direction."
    EARLY_JOINED = "early-joined", "A set-up cell came over a circuit that is already joined."
    EARLY_TOO_MANY = "early-too-many", "A circuit got more set-up cells than any path needs."
    EXTEND_BACKWARD = (
        "extend-backward",
        "A circuit asked to be extended to this relay, or back to where it came from.",
    )
    EXTEND_FAILED = "extend-failed", "The next relay of a circuit could not be reached."
    EXTEND_NOT_EARLY = "extend-not-early", "A circuit asked to be extended by a cell that may not do that."
    EXTEND_TIMEOUT = "extend-timeout", "The next relay of a circuit did not answer in time."
    EXTEND_TWICE = "extend-twice", "A circuit asked a relay to extend it a second time."
    EXTEND_UNKNOWN_RELAY = (
        "extend-unknown-relay",
        "A circuit asked to be extended to a relay that is not on our lists.",
    )
    EXTENDED_NOT_DUE = "extended-not-due", "A relay reported an extension that nobody had asked for."
    FINISHED = "finished", "The circuit finished its task."
    HOP_TIMEOUT = "hop-timeout", "A relay did not join a circuit in time."
    JOIN_ENDED = "join-ended", "The other half of a joined circuit has ended."
    JOIN_GONE = "join-gone", "Two circuits could not be joined: one of them had ended or was joined already."
    LAYER_UNRECOGNISED = (
        "layer-unrecognised",
        "A cell did not come from any of the circuit's relays, or was changed on the way.",
    )
    MEMORY = "memory", "The memory quota was reached, so a circuit or link that held much of it was ended."
    NO_CIRCUIT_ID = "no-circuit-id", "A link has no free number for another circuit."
    NOT_NEEDED = "not-needed", "The circuit was ready when nobody needed it any more."
    POOL_CLOSED = "pool-closed", "Circuits built in advance were not needed any more."
    POOL_OLD = "pool-old", "A circuit built in advance was too old to use."
    QUEUE_FULL = (
        "queue-full",
        "More cells waited on a circuit than its sender may send before an acknowledgement.",
    )
    REFUSALS_UNREAD = "refusals-unread", "The neighbour asks for circuits but does not read our refusals."
    RELAY_LEAVING = "relay-leaving", "This relay is about to end, so it refused a new circuit."
    SILENT_AT_LEAVING = "silent-at-leaving", "This relay was about to end, and a circuit carried nothing."
    UNKNOWN_CIRCUIT = (
        "unknown-circuit",
        "A cell was for an unknown circuit; some arrive after the end of every circuit.",
    )
    UNKNOWN_COMMAND = (
        "unknown-command",
        "A cell was for an unknown circuit and had an unknown command.",
    )
    WINDOW_OVERRUN = "window-overrun", "The other end sent more than it may before an acknowledgement."

    # Messages on a circuit.

    ACK_MISMATCH = "ack-mismatch", "An acknowledgement named a cell that was never sent."
    ACK_NOT_DUE = "ack-not-due", "An acknowledgement arrived when none was due."
    ACK_SHAPE = "ack-shape", "An acknowledgement had a wrong format."
    CONSENSUS_ASKED_TWICE = (
        "consensus-asked-twice",
        "A circuit asked for the list of relays while the list was being sent to it.",
    )
    CONTINUE_NOT_DUE = "continue-not-due", "A part of a message arrived that does not continue any message."
    DROP_NOT_DUE = "drop-not-due", "Padding arrived that nobody had asked for."
    ECHOES_TOO_MANY = "echoes-too-many", "A circuit asked for more padding than set-up may use."
    MESSAGE_INSIDE_MESSAGE = "message-inside-message", "A message began before the previous one was whole."
    MESSAGE_NOT_ACCEPTED = "message-not-accepted", "A message had a type that is not accepted at this point."
    MESSAGE_ON_JOINED_CIRCUIT = (
        "message-on-joined-circuit",
        "A message for this relay came over a circuit that is joined to another.",
    )
    MESSAGE_SHAPE = "message-shape", "A message had a wrong format."
    MESSAGE_SIZE = "message-size", "A message had a size that is wrong for its type."
    MESSAGE_TYPE = "message-type", "A message had a type that this service does not know."
    REPLIES_UNCOLLECTED = "replies-uncollected", "A client sent many requests and did not read the answers."

    # Keys, handshakes, seals.

    ADDRESS_OPENING = "address-opening", "The keys do not belong to the address."
    AEAD_OPEN = "aead-open", "Something sealed was changed on the way, or sealed with another key."
    BLINDING = "blinding", "A key could not be blinded for a period."
    HANDSHAKE_AUTH = "handshake-auth", "A relay did not prove that it holds its keys."
    HANDSHAKE_KEM_CIPHERTEXT = "handshake-kem-ciphertext", "The post-quantum part of an answer was not valid."
    HANDSHAKE_KEM_KEY = "handshake-kem-key", "The post-quantum key in a handshake was not valid."
    HANDSHAKE_MAC = "handshake-mac", "A handshake was changed on the way, or was made for another relay."
    HANDSHAKE_SIZE = "handshake-size", "A handshake had a wrong length."
    HANDSHAKE_UNKNOWN_KEY = (
        "handshake-unknown-key",
        "A handshake was made with an onion key that is not in use here, perhaps from an old list of relays.",
    )
    IDENTITY_SHAPE = (
        "identity-shape",
        "An identity file did not hold an identity; restore it from its backup.",
    )
    KEY_POINT = "key-point", "A public key was not a valid point of its curve."
    KEY_SIZE = "key-size", "A key had a wrong length."
    KEY_SMALL_ORDER = "key-small-order", "A public key cannot give a secret."
    NONCE_SIZE = "nonce-size", "A nonce had a wrong length."
    SCALAR = "scalar", "A secret scalar was not valid."
    SCALAR_ZERO = "scalar-zero", "A scalar was zero, which an honest draw never gives."
    SEAL_KEY = "seal-key", "Something could not be sealed, because the key was not valid."
    SEAL_OPEN = "seal-open", "Something sealed for this endpoint could not be opened: not for us, or changed."
    SEAL_SIZE = "seal-size", "Something sealed had a wrong length."
    SIGNATURE = "signature", "A signature was not valid."
    SIGNATURE_SIZE = "signature-size", "A signature had a wrong length."

    # Documents: descriptors and the list of relays.

    CONSENSUS_ADDRESS = (
        "consensus-address",
        "The addresses of a relay in a list are not in order.",
    )
    CONSENSUS_DATES = "consensus-dates", "The dates of a list of relays contradict each other."
    CONSENSUS_EXPIRED = (
        "consensus-expired",
        "A list of relays has expired: it is an old copy, or the clock here is ahead.",
    )
    CONSENSUS_NETWORK = (
        "consensus-network",
        "A list of relays is for another network; compare the network files.",
    )
    CONSENSUS_NOT_YET = (
        "consensus-not-yet",
        "A list of relays is from the future: check whether the clock here is behind.",
    )
    CONSENSUS_ORDER = (
        "consensus-order",
        "Entries of a list of relays are not in order, or one is there twice.",
    )
    CONSENSUS_ROLLBACK = "consensus-rollback", "A list of relays is older than ours."
    CONSENSUS_ROOT = "consensus-root", "The hash of a list of relays is not the value that was signed."
    CONSENSUS_SIGNATURES = (
        "consensus-signatures",
        "Too few authorities of the network file signed a list of relays.",
    )
    CONSENSUS_VERSION = (
        "consensus-version",
        "A list of relays has a version that this program does not know.",
    )
    DESCRIPTOR_ADDRESS = "descriptor-address", "A relay's address cannot be reached or is not valid."
    DESCRIPTOR_FAMILY = "descriptor-family", "A relay's family is not in order, or names the relay itself."
    DESCRIPTOR_NICKNAME = "descriptor-nickname", "A relay's nickname has characters that it may not have."
    DESCRIPTOR_OF_ANOTHER = (
        "descriptor-of-another",
        "A relay answered with the descriptor of another address or period.",
    )
    DESCRIPTOR_PACED = "descriptor-paced", "A relay gave a number of links that is not a power of two."
    DESCRIPTOR_REVISION = (
        "descriptor-revision",
        "The inside of a descriptor is older or newer than its outside.",
    )
    DESCRIPTOR_VERSION = (
        "descriptor-version",
        "A relay descriptor has a version that this program does not know.",
    )
    DESCRIPTOR_VERSIONS = "descriptor-versions", "The protocol versions that a relay names are not in order."
    DOCUMENT_EXPIRED = "document-expired", "A descriptor was out of date."
    DOCUMENT_FAR_FUTURE = (
        "document-far-future",
        "A descriptor's expiry was later than allowed; a clock may be wrong.",
    )
    DOCUMENT_NOT_CANONICAL = (
        "document-not-canonical",
        "A document was not in the only form that is allowed.",
    )
    DOCUMENT_SHAPE = "document-shape", "A document did not have the right content."
    DOCUMENT_SIZE = "document-size", "A document had a size that is not allowed."
    DOCUMENT_VERSION = "document-version", "A document has a version that this program does not know."
    MERKLE_ROOT = "merkle-root", "A proof did not lead to the value that was signed."
    MERKLE_SHAPE = "merkle-shape", "A proof had a wrong format."
    PARAMS_CONTRADICTION = "params-contradiction", "Parameters of the network contradict each other."
    PARAMS_RANGE = "params-range", "A parameter of the network is out of its allowed range."

    # At a relay: what roles keep.

    REMEMBER_FULL = "remember-full", "A role could not keep something: too much waited for the disk."
    NOT_REMEMBERED = "not-remembered", "A role could not write something to disk; check the disk."
    LOOKS_FULL = "looks-full", "A role could not read something that it keeps: too much waited for the disk."
    NOT_LOOKED = "not-looked", "A role could not read something that it keeps; check the disk."

    # At a relay: meeting points.

    RENDEZVOUS_DISPLACED = (
        "rendezvous-displaced",
        "A waiting visitor had to make room: too many wait here.",
    )
    RENDEZVOUS_EXPIRED = "rendezvous-expired", "Nobody came to a waiting visitor within ten minutes."
    RENDEZVOUS_SECOND_USE = (
        "rendezvous-second-use",
        "A circuit that waits for its meeting asked for something else.",
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
        "An endpoint came back over a new circuit, which replaced the old one.",
    )
    INTRODUCE_BUSY = "introduce-busy", "A visitor was refused: its endpoint does not read fast enough."
    INTRODUCE_DIFFERENT = "introduce-different", "A visitor's second try was a different introduction."
    INTRODUCE_NO_SUCH_KEY = (
        "introduce-no-such-key",
        "A visitor asked for an endpoint that is not introduced here.",
    )
    INTRODUCE_UNPAID = "introduce-unpaid", "A visitor proved less work than an endpoint wants now."
    INTRODUCE_GATES_FULL = (
        "introduce-gates-full",
        "A visitor that had proved its work was turned away: too many wait at this relay.",
    )
    INTRODUCE_OUTBID = (
        "introduce-outbid",
        "A visitor that had proved its work waited in vain: others proved more, or came first.",
    )
    INTRO_PROOF_RATE = "intro-proof-rate", "An endpoint changed more often than it may what visitors prove."
    INTRODUCE_RATE = "introduce-rate", "More visitors came to an endpoint than are allowed."
    INTRODUCE_TOO_MANY = "introduce-too-many", "A visitor tried more often than it may over one circuit."

    RESUME_BUSY = "resume-busy", "A visitor could not resume: its endpoint does not read fast enough."
    RESUME_RATE = "resume-rate", "More sessions were resumed with an endpoint than are allowed."

    # At a relay: the ring of descriptors.

    FETCH_RATE = "fetch-rate", "More descriptors were requested over one neighbour than allowed."
    PUBLISH_DISPLACED = "publish-displaced", "A descriptor had to make room for another: this relay is full."
    PUBLISH_FULL = "publish-full", "A descriptor was refused: this relay is full."
    PUBLISH_RATE = "publish-rate", "More descriptors were published over one neighbour than allowed."
    PUBLISH_REFUSED = "publish-refused", "This relay is not responsible for a descriptor."
    PUBLISH_STALE = "publish-stale", "A descriptor was not newer than the stored one."
    RING_TOO_MANY = "ring-too-many", "A circuit made more requests for descriptors than it may."

    # Mailboxes and what lies in them.

    BOARD_SHAPE = "board-shape", "An entry on a board had a wrong format inside its seal."
    MEETING_SHAPE = "meeting-shape", "What lay on the board of a meeting was no hello and no answer."
    MEETING_MANY = "meeting-many", "A hello was not answered: too many others came to a meeting."
    LETTER_DISPLACED = (
        "letter-displaced",
        "A letter of which not all parts had come made room for others.",
    )
    LETTER_EXPIRED = "letter-expired", "A letter's time ended before all of its parts had come."
    LETTER_PARTS = "letter-parts", "A part of a letter contradicted another part of it."
    LETTER_PROOF = "letter-proof", "A letter named a session, and its proof of that did not hold."
    LETTER_SHAPE = "letter-shape", "A letter from a mailbox had a wrong format inside its seal."
    LETTER_WAITS = "letter-waits", "A letter stays in its mailbox for now: there is no room for it here."
    MAILBOX_PAGES = "mailbox-pages", "A relay said that a mailbox has more items than one can have."
    MAILBOX_UNREAD = "mailbox-unread", "A relay did not say what it has of a mailbox."
    MAILBOX_SHAPE = "mailbox-shape", "A message about a mailbox had a wrong format."
    MAILBOX_DATE = "mailbox-date", "A deposit was refused: its expiry is too near, over, or too far away."
    MAILBOX_DEAR = "mailbox-dear", "A deposit was refused: its proof of work was not enough."
    MAILBOX_FULL = (
        "mailbox-full",
        "A deposit was refused: its mailbox or this relay is full, or the disk failed.",
    )
    MAILBOX_LIST_RATE = "mailbox-list-rate", "Mailboxes were read over one neighbour more often than allowed."
    MAILBOX_PUT_RATE = "mailbox-put-rate", "More was deposited over one neighbour than allowed."
    MAILBOX_REFUSED = "mailbox-refused", "This relay is not responsible for a mailbox."
    MAILBOX_STALE = (
        "mailbox-stale",
        "A deposit was not newer than what this relay knows of it, or was different.",
    )
    MAILBOX_TOO_MANY = "mailbox-too-many", "A circuit made more requests about mailboxes than it may."
    MAILBOX_WAITS_FULL = (
        "mailbox-waits-full",
        "A reader of a mailbox got its answer at once, because too many wait for items.",
    )
    MAIL_RECEIPTS_MOST = (
        "mail-receipts-most",
        "A receipt was dropped: too many wait to be left for visitors that are away.",
    )
    PAIR_SHAPE = "pair-shape", "What the other side of a session left in a mailbox had a wrong format."

    # At an endpoint: introducers and introductions.

    INTRODUCE_AUTH_KEY = "introduce-auth-key", "An introducer brought an introduction for another endpoint."
    INTRODUCE_CLASS = "introduce-class", "The class byte of an introduction had a bit that means nothing."
    INTRODUCE_KIND = "introduce-kind", "An introduction had a kind that does not belong to its length."
    INTRODUCE_LEGS = "introduce-legs", "An introduction named three meeting points, which is not in use yet."
    INTRODUCE_PERIOD = (
        "introduce-period",
        "An introduction was made for a period that is over or has not begun.",
    )
    INTRODUCE_POINTS = (
        "introduce-points",
        "An introduction did not name one meeting point or three different ones.",
    )
    INTRODUCE_RECORD = "introduce-record", "The record in an introduction had a wrong format."
    INTRODUCE_REPLAYED = "introduce-replayed", "An introduction arrived a second time."
    INTRODUCE_SIZE = "introduce-size", "An introduction had a wrong length inside its seal."
    INTRODUCER_FAILED = "introducer-failed", "An introducer failed our own tests and was replaced."
    INTRODUCER_FLOODS = (
        "introducer-floods",
        "An introducer brought more than all visitors could send, and was replaced.",
    )
    INTRODUCER_JUNK = "introducer-junk", "An introducer brought much that does not open, and was replaced."
    INTRODUCER_KEPT = "introducer-kept", "An introducer was kept because too many had been replaced already."
    INTRODUCER_LEFT = "introducer-left", "An introducer has left the network, and another one replaced it."
    INTRODUCER_NOT_HAD = "introducer-not-had", "No circuit to an introducer could be used."
    INTRODUCER_OVER = "introducer-over", "The time with an introducer was over."
    INTRODUCER_REFUSED = "introducer-refused", "A relay refused to introduce us."
    INTRODUCER_UNLISTED = "introducer-unlisted", "An introducer is not on the list of relays any more."
    INTRODUCTIONS_WAITING = "introductions-waiting", "An introduction was dropped because too many waited."
    RENDEZVOUS_FAILED = "rendezvous-failed", "The meeting point of a visitor could not be reached."
    RENDEZVOUS_TIMEOUT = "rendezvous-timeout", "The meeting with a visitor could not be arranged in time."
    RENDEZVOUS_UNKNOWN_RELAY = (
        "rendezvous-unknown-relay",
        "A visitor waits at a relay that is not on our lists.",
    )

    # Sessions.

    PROVE_RATE = "prove-rate", "More senders wanted to prove their addresses than are checked."
    PROVE_SHAPE = "prove-shape", "A proof of a sender's address had a wrong format."
    PROVE_WRONG = "prove-wrong", "A sender's proof of its address did not hold."
    PEER_FORGOTTEN = "peer-forgotten", "The program does not want to know a peer any more."
    REFRESH_SHAPE = "refresh-shape", "A message that renews a session came from the wrong side, or was wrong."
    RESUME_BUDGET = (
        "resume-budget",
        "A session asked for circuits faster than allowed; its record was taken, and no circuit was built.",
    )
    RESUME_LEGS = "resume-legs", "A session asked for three circuits, which is not in use yet."
    RESUME_OPEN = "resume-open", "A session was resumed, but the cell did not open; it may have been changed."
    RESUME_SHAPE = "resume-shape", "A cell that resumes a session had a wrong content."
    RESUME_UNKNOWN = (
        "resume-unknown",
        "A cell for a session that we do not have: an old one, or one of another program with our keys.",
    )
    RESUMES_WAITING = "resumes-waiting", "A session was not resumed because too many others waited."
    SESSION_DISPLACED = "session-displaced", "A session had to make room for a new one: there were too many."
    WAY_BACK_INTRODUCTION = (
        "way-back-introduction",
        "Somebody introduced himself at a way back, where only the endpoint may go on with its session.",
    )
    WAY_BACK_SHAPE = "way-back-shape", "A session's ways back were wrong, or came from the wrong side."

    # Whispers, receipts, and the circuits that carry them.

    CONTACT_CLOSED = "contact-closed", "The contact was closed."
    ENDPOINT_CLOSED = "endpoint-closed", "The endpoint was closed."
    EXCHANGE_OVER = "exchange-over", "The circuit that carried whispers has ended."
    EXCHANGES_MOST = "exchanges-most", "The visitor who was quiet longest made room: there were too many."
    IDLE = "idle", "Nothing was sent over the circuit for a while."
    NO_ROOM_FOR_WHISPER = (
        "no-room-for-whisper",
        "A whisper was left to its sender because too many wait here; read them.",
    )
    NOT_CONNECTED = "not-connected", "A try to reach an endpoint failed, and its circuits were given up."
    NOT_KEPT = (
        "not-kept",
        "A whisper could not be written to disk and was not acknowledged; check the disk.",
    )
    RECEIPT_LATE = "receipt-late", "A receipt did not arrive in time, so another circuit is tried."
    RECORD_BODY = "record-body", "A record had a body that its kind does not allow."
    RECORD_CLASS = "record-class", "The class byte of a record had a bit that its kind does not allow."
    RECORD_EXPIRED = "record-expired", "A whisper came after its time; the clock here or there may be wrong."
    RECORD_EXPIRED_WAITING = "record-expired-waiting", "A whisper's time ended while it waited for room here."
    RECORD_FAR_FUTURE = (
        "record-far-future",
        "A whisper's expiry was later than allowed; a clock may be wrong.",
    )
    RECORD_KIND = "record-kind", "A record had an unknown kind."
    RECORD_LENGTH = "record-length", "A record's length field was wrong."
    RECORD_PADDING = "record-padding", "A record was not padded with zeros."
    RECORD_REPLY = (
        "record-reply",
        "A record named another record where it may not, or named none where it must.",
    )
    RECORD_SIZE = "record-size", "A record had a size that is not allowed."
    RECORD_UNREAD = "record-unread", "A record came that nobody here reads."
    RECORD_WITHOUT_SESSION = (
        "record-without-session",
        "A message about a session came over a circuit that belongs to none.",
    )
    RENEWED = "renewed", "The circuit made room for another one over other relays."
    RENDEZVOUS_REFUSED = "rendezvous-refused", "A relay refused to be our meeting point."
    WHISPER_GIVEN_UP = (
        "whisper-given-up",
        "A whisper was shown to the program as often as allowed and never finished.",
    )

    # Transfers: what is longer than a whisper and comes in parts.

    PART_FLAGS = "part-flags", "A part of a transfer had flags that this program does not know."
    PART_SIZE = "part-size", "A part of a transfer had a length that is not allowed."
    PART_TOTAL = "part-total", "The last part of a transfer named a total that is too large or does not fit."
    TRANSFER_DISPLACED = (
        "transfer-displaced",
        "A transfer of which nothing new came for an hour made room for others.",
    )
    TRANSFER_EXPIRED = "transfer-expired", "A transfer's time ended before all of it had come; it was erased."
    TRANSFER_NOT_WHOLE = (
        "transfer-not-whole",
        "The parts of a transfer did not fit together, so it was refused.",
    )
    TRANSFERS_FULL = (
        "transfers-full",
        "A part of a transfer was left unanswered: too much is unfinished here.",
    )
