"""Our own known answers: the bytes on the wire do not change by accident (tests/vectors/make.py)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from onionshh.config import Authority, NetworkFile
from onionshh.core import trust
from onionshh.core.board.entry import open_entry_untrusted
from onionshh.core.board.topic import Topic
from onionshh.core.delivery.record import Record
from onionshh.core.endpoint.descriptor import check_outer_untrusted, open_descriptor_untrusted
from onionshh.core.endpoint.introduce import answer, leg_of, open_introduction_untrusted
from onionshh.core.endpoint.toll import intro_task, pays_untrusted
from onionshh.core.mailbox.item import check_item_untrusted, check_list_untrusted, check_put_untrusted
from onionshh.core.mailbox.letter import KnownSender, NewSender, letter_root, open_letter_untrusted
from onionshh.core.mailbox.pair import (
    FROM_ENDPOINT,
    open_pair_untrusted,
    pair_mailbox,
    unpack_records_untrusted,
)
from onionshh.core.mailbox.work import holds_untrusted
from onionshh.core.meeting.hello import Agreed, Hello, agreed_untrusted, meeting_topic
from onionshh.crypto.handshake import ClientHandshake, respond
from onionshh.crypto.identity import (
    IdentityKeys,
    blind_public,
    decode_address_untrusted,
    verify_pq_untrusted,
    verify_untrusted,
)
from onionshh.crypto.layers import ClientLayers, RelayLayers
from onionshh.crypto.primitives import KeyPair, aead_open
from onionshh.crypto.refresh import Offer
from onionshh.crypto.seal import SealKey
from onionshh.errors import BadAddress
from onionshh.ids import AuthKey, RelayId
from onionshh.wire import merkle
from onionshh.wire.mailbox import Items, Kept, List, Put
from onionshh.wire.messages import Introduce, IntroLoad, IntroProof, Paid, Resume, introduced_untrusted
from onionshh.wire.packing import pack
from tests.seeded import seeded
from tests.vectors.make import FOLDER, MAKERS, make

h = bytes.fromhex


def known(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", MAKERS)
def test_the_kept_script_makes_the_kept_file(name: str) -> None:
    assert make(name) == (FOLDER / name).read_text(encoding="utf-8")


def test_layers() -> None:
    """The client reads what relays were known to say, relays what clients were known to send."""
    kept = known("layers.json")
    client, relays = ClientLayers(), []
    for forward, backward in kept["states"]:
        client.add_hop(h(forward), h(backward))
        relays.append(RelayLayers(h(forward), h(backward)))
    for direction, hop, command, payload, tag, wire in kept["cells"]:
        if direction == "in":
            assert client.receive(command, h(wire[-1])) == (hop, h(payload), h(tag))
            continue
        body = h(wire[0])
        for place, relay in enumerate(relays[: hop + 1]):
            arrived, (tag_, rest, mine) = body, relay.outbound(command, body[:16], body[16:])
            body = tag_ + rest
            assert mine == (place == hop)
        assert (body[16:], arrived[:16]) == (h(payload), h(tag))


def test_handshakes() -> None:
    for server_id, b, ver, drawn, flight, reply, keystream in known("handshake.json")["exchanges"]:
        server = KeyPair.from_private(h(b))
        draws = [h(drawn)[:32], h(drawn)[32:]]
        client = ClientHandshake(
            server_id=h(server_id),
            server_key=server.public,
            ver=h(ver),
            client_message=bytes(range(16)),
            random_bytes=lambda _, draws=draws: draws.pop(0),  # type: ignore[misc]
        )
        assert client.message == h(flight)
        done = client.finish(h(reply), server_message_bytes=16, keystream_bytes=224)
        assert done.server_message == bytes(range(16, 32))
        assert done.keystream == h(keystream)
        answer = respond(
            h(flight),
            server_id=h(server_id),
            keys=[server],
            ver=h(ver),
            client_message_bytes=16,
            server_message=b"",
            keystream_bytes=32,
            random_bytes=seeded(1),
        )
        assert answer.client_message == bytes(range(16))


def test_identities() -> None:
    kept = known("identity.json")
    identity = IdentityKeys.from_bytes_untrusted(h(kept["stored"]))
    assert (identity.A.hex(), identity.P.hex()) == (kept["A"], kept["P"])
    assert decode_address_untrusted(kept["address"]) == identity.A
    for period, seconds, public, subcredential, signature in kept["periods"]:
        blinded = identity.blind(period, seconds)
        assert (blinded.public.hex(), blinded.subcredential.hex()) == (public, subcredential)
        assert blinded.sign(b"onionshh test v1", lambda _: h(kept["nonce"])).hex() == signature
        verify_untrusted(h(public), h(signature), b"onionshh test v1")
    verify_pq_untrusted(identity.pq_public, h(kept["pq"]), b"onionshh test v1")
    for text, _ in kept["bad_addresses"]:
        with pytest.raises(BadAddress):
            decode_address_untrusted(text)


def test_seals() -> None:
    kept = known("seal.json")
    key = SealKey.from_bytes(h(kept["key"]))
    assert key.public.hex() == kept["public"]
    assert key.open_untrusted(h(kept["info"]), h(kept["sealed"])).hex() == kept["plaintext"]


def test_descriptors() -> None:
    kept = known("descriptor.json")
    period, seconds, wall = kept["period"], kept["period_seconds"], kept["wall"]
    A = decode_address_untrusted(kept["address"])
    for name in ("", "full_"):
        data = h(kept[name + "descriptor"])
        descriptor = open_descriptor_untrusted(data, A=A, period=period, period_seconds=seconds, wall=wall)
        assert descriptor.encode() == h(kept[name + "row"])
        outer = check_outer_untrusted(data, wall=wall)
        assert outer.blinded == blind_public(A, period, seconds)
        assert outer.expiry == (kept["letters_until"] if name else descriptor.expiry)
        assert descriptor.has_inbox is descriptor.sends_no_receipts is bool(name)


def test_introductions() -> None:
    """What was sealed once is read as it was meant, and every leg has the cookie and key it had."""
    kept = known("introduction.json")
    key = SealKey.from_bytes(h(kept["seal_key"]))
    rendezvous_keys, subcredential = KeyPair.from_private(h(kept["rendezvous_key"])), h(kept["subcredential"])
    for message, row in zip(kept["messages"], kept["introductions"], strict=True):
        introduce = introduced_untrusted(h(message))
        assert isinstance(introduce, Introduce)
        opened = open_introduction_untrusted(introduce, key, subcredential)
        assert (opened.privacy_class, opened.keep_session) == (row["class"], row["keep_session"])
        assert [point.hex() for point in opened.rendezvous_points] == row["points"]
        assert (opened.seed.hex(), opened.handshake.hex()) == (row["seed"], row["handshake"])
        assert opened.record.hex() == row["record"]
        for number, (seed, cookie, reply_key) in enumerate(row["legs"]):
            leg = leg_of(h(seed))
            assert (leg.cookie.hex(), leg.reply_key.hex()) == (cookie, reply_key)
            rendezvous1, _ = answer(
                opened,
                number,
                rendezvous_keys=rendezvous_keys,
                subcredential=subcredential,
                random_bytes=seeded(number),
            )
            assert rendezvous1[:32] == leg.cookie
            assert len(aead_open(leg.reply_key, bytes(12), rendezvous1[32:])) == 1152
    message, parts = kept["resume"]
    resume = introduced_untrusted(h(message))
    assert isinstance(resume, Resume)
    assert [resume.auth_key, resume.tag, resume.salt, resume.header, resume.sealed] == [*map(h, parts)]


def test_tolls() -> None:
    """What was proved once is good for this introduction."""
    kept = known("introduction.json")["toll"]
    wanted = IntroProof.decode_untrusted(h(kept["wanted"]))
    assert (wanted.effort, wanted.expires) == (96, 1_728_007_200)
    message = Introduce.decode_untrusted(h(kept["message"]))
    paid = Paid.decode_untrusted(message.pow)
    assert paid is not None
    assert (paid.effort, paid.seed_head) == (96, wanted.seed[:4])
    assert intro_task(wanted.seed, AuthKey(message.auth_key), 96, message.sealed).hex() == kept["task"]
    assert pays_untrusted(paid, wanted.seed, message)
    assert IntroLoad.decode_untrusted(h(kept["load"])) == IntroLoad(70_000, 3)


def test_boards() -> None:
    """A post that was signed and sealed once is read, in its two parts."""
    kept = known("board.json")
    assert [[name, Topic.of(name).secret.hex()] for name, _ in kept["topics"]] == kept["topics"]
    topic, (box, seed) = Topic(h(kept["secret"])), kept["mailbox"]
    assert topic.mailbox(20_000).encode().hex() == box
    assert topic.key(20_000).seed.hex() == seed
    identity = IdentityKeys.from_bytes_untrusted(h(known("identity.json")["stored"]))
    assert identity.author_key(topic.secret).public.hex() == kept["author"]
    parts = []
    for item_id, signed, value in kept["items"]:
        parts.append(open_entry_untrusted(topic, topic.mailbox(20_000), h(item_id), h(value)))
        assert parts[-1].encode().hex() == signed
    assert {(one.author.hex(), one.number, one.minute) for one in parts} == {
        (kept["author"], 70_000, 28_800_007)
    }
    assert [(one.part, one.parts, len(one.chunk)) for one in parts] == [(0, 2, 5172), (1, 2, 128)]


def test_meetings() -> None:
    """Who has the seed still finds the session that was agreed on."""
    kept = known("meeting.json")
    secret, offer = h(kept["secret"]), Offer.of_seed(h(kept["seed"]))
    assert meeting_topic(secret).secret.hex() == kept["topic"]
    hello = Hello.decode_untrusted(secret, h(kept["hello"]))
    assert Hello.of(secret, hello.instance, offer.public) == hello
    answer, instance, period, root = kept["answer"]
    assert agreed_untrusted(secret, hello, offer, h(answer)) == Agreed(h(instance), h(root), period)


def test_records() -> None:
    for whisper_id, in_reply_to, expires, privacy_class, wanted, kind, body, wire in known("record.json")[
        "records"
    ]:
        record = Record.decode_untrusted(h(wire))
        assert (record.whisper_id.hex(), record.in_reply_to.hex()) == (whisper_id, in_reply_to)
        assert (record.expires, record.privacy_class) == (expires, privacy_class)
        assert (record.receipt_wanted, record.kind, record.body.hex()) == (wanted, kind, body)
        assert record.encode() == h(wire)


def test_what_relays_and_authorities_sign() -> None:
    kept = known("directory.json")
    relay = trust.open_descriptor_untrusted(h(kept["relay"]))
    assert [list(address) for address in relay.addresses] == kept["addresses"]
    assert (len(relay.signing), relay.paced, relay.software) == (104, (64, 1), "onionshh 0.1.0")
    assert trust.open_descriptor_untrusted(h(kept["plain"])) == replace(relay, signing=b"")
    network = NetworkFile("known answers", 1, (Authority("http://127.0.0.1:1", h(kept["authority"])),))
    consensus = trust.read_consensus_untrusted(h(kept["consensus"]), network)
    assert (consensus.crowd, len(consensus.previous), len(consensus.votes)) == ((640, 2), 32, 1)
    (listed,) = (row for row in consensus.relays if row.identity == relay.identity)
    assert (listed.addresses, listed.software) == (relay.addresses, relay.software)
    root, row = h(kept["root"]), consensus.relays[1]
    assert (consensus.root, pack(row)) == (root, h(kept["row"]))
    steps = [merkle.Node(h(hashed), weight) for hashed, weight in kept["proof"]]
    leaf = merkle.Leaf(h(kept["row"]), row.weight)
    assert list(merkle.check_untrusted(leaf, 1, 3, steps, root)) == kept["place"]


def test_mailboxes() -> None:
    """What was sealed, signed and paid once is read and holds."""
    kept = known("mailbox.json")
    key, mail, inbox = SealKey.from_bytes(h(kept["letter_key"])), h(kept["mail"]), h(kept["inbox"])
    put = Put.decode_untrusted(h(kept["put"]))
    letters = [open_letter_untrusted(key, h(kept["info"]), h(value)) for value in kept["sealed"]]
    assert [letter.encode().hex() for letter in letters] == kept["letters"]
    assert [(one.privacy_class, one.part, one.parts, len(one.chunk)) for one in letters] == [
        (0, 0, 1, 296),
        (3, 15, 16, 3536),
    ]
    new, old = (letter.sender for letter in letters)
    assert isinstance(new, NewSender)
    assert letter_root(new.seed, inbox[1:33], 20_000) == h(kept["root"])
    assert isinstance(old, KnownSender)
    assert old.proof == h(kept["proof"])
    assert old.holds(mail, put.item_id)
    box, plain, salt = map(h, kept["pair"])
    assert (put.mailbox.encode(), put.value[:16]) == (box, salt)
    assert put.mailbox == pair_mailbox(mail, FROM_ENDPOINT, 20_000)
    part = open_pair_untrusted(mail, put.mailbox, put.item_id, put.value)
    assert part.encode() == plain
    assert [len(record) for record in unpack_records_untrusted(part.chunk)] == [296, 296]
    for message in (put, Put.decode_untrusted(h(kept["recalled"]))):
        check_put_untrusted(message)
    assert holds_untrusted(h(kept["task"]), h(kept["nonce"]), 96)
    assert (put.effort, put.nonce) == (96, h(kept["nonce"]))
    wanted = List.decode_untrusted(h(kept["list"]))
    assert wanted.mailbox.encode() == inbox
    check_list_untrusted(wanted, h(kept["binding"]), RelayId(h(kept["relay"])))
    assert Kept.decode_untrusted(h(kept["kept"])).effort == 96
    values, heads = (Items.decode_untrusted(h(message), mode) for mode, message in kept["items"])
    check_item_untrusted(put.mailbox, values.items[0])
    assert (heads.heads[0].item_id, heads.heads[0].number, heads.next) == (put.item_id, 9, 9)
