"""Writes our own known answers, tests/vectors/*.json, with all randomness fixed.

    python -m tests.vectors.make          write the files anew
    python -m tests.vectors.make --check  say whether they are what this script makes

They pin the bytes of the protocol: a change that alters one of them is a change of protocol, and shows up
as a difference in these files. Where a library draws its own randomness (ML-KEM encapsulation, HPKE,
ML-DSA), the kept file holds what it once drew, and the answer that follows from it is what is tested; such
a row is kept as it is unless `--fresh` is asked for.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from onionshh.core.board.entry import Entry, seal_entry, split_post
from onionshh.core.board.topic import Topic
from onionshh.core.certificate import certify
from onionshh.core.delivery import record
from onionshh.core.endpoint.descriptor import build_descriptor
from onionshh.core.endpoint.introduce import Introduction, open_introduction_untrusted
from onionshh.core.endpoint.toll import SEED_HEAD, intro_task
from onionshh.core.mailbox import pair
from onionshh.core.mailbox.item import make_list, make_put
from onionshh.core.mailbox.letter import (
    KnownSender,
    Letter,
    NewSender,
    letter_info,
    letter_proof,
    letter_root,
    seal_letter,
)
from onionshh.core.mailbox.work import Search, put_task
from onionshh.core.meeting.hello import Hello, answer_untrusted, meeting_topic
from onionshh.core.session.chains import tag_of
from onionshh.core.session.resumption import Resumption, SpentStep
from onionshh.core.session.session import Session, SessionId
from onionshh.core.trust import sign_descriptor
from onionshh.crypto import bech32m
from onionshh.crypto.handshake import CIRCUIT, ClientHandshake, rendezvous, respond
from onionshh.crypto.identity import IdentityKeys, SigningKey
from onionshh.crypto.layers import ClientLayers, RelayLayers
from onionshh.crypto.primitives import FrameCipher, KeyPair, kdf
from onionshh.crypto.refresh import SEED, Offer
from onionshh.crypto.seal import SealKey, seal
from onionshh.directory.signing import sign_consensus
from onionshh.geometry import HPKE_KEY, INTRODUCE_SEALED, LAYER_STATE, PAYLOAD, TAG
from onionshh.ids import AuthKey, RandomBytes, RelayId, WhisperId
from onionshh.wire import merkle
from onionshh.wire.cell import RELAY, RELAY_EARLY
from onionshh.wire.consensus import GUARD, RING, Consensus, RelayRow, SharedRandom, Vote
from onionshh.wire.descriptor import (
    CAPABILITY_MAILBOXES,
    CAPABILITY_RING,
    SIGNING,
    Address,
    Paced,
    RelayDescriptor,
)
from onionshh.wire.endpoint import COVERED, EndpointDescriptor, IntroducerEntry, ProofWanted
from onionshh.wire.mailbox import HEADS, INBOX, STORED, VALUES, Head, Item, Items, Kept, Mailbox
from onionshh.wire.messages import Introduce, IntroLoad, IntroProof, Paid, Resume
from onionshh.wire.packing import pack

FOLDER = Path(__file__).parent
Rows = dict[str, Any]


def fixed(name: str) -> Callable[[int], bytes]:
    """Random bytes that are none: a KDF over a name and a count."""
    count = 0

    def draw(size: int) -> bytes:
        nonlocal count
        count += 1
        return kdf("known answers", name.encode(), count.to_bytes(8), length=size)

    return draw


def primitives() -> Rows:
    cipher = FrameCipher(bytes(range(32)), frames_per_key=2)
    return {
        "about": "kdf: [label, parts, length, out]. frames: key 00..1f, a new key every 2 frames, aad 0011",
        "kdf": [
            [label, [part.hex() for part in parts], length, kdf(label, *parts, length=length).hex()]
            for label, parts, length in [
                ("rekey", [bytes(32)], 32),
                ("cookie", [bytes(range(32))], 32),
                ("two", [b"ab", b""], 100),
                ("none", [], 16),
            ]
        ],
        "frames": [cipher.seal(bytes([n]) * n, b"\x00\x11").hex() for n in range(5)],
    }


def layers() -> Rows:
    """A circuit of three relays; every cell as it is on each link."""
    draw = fixed("layers")
    states = [(draw(LAYER_STATE), draw(LAYER_STATE)) for _ in range(3)]
    client = ClientLayers()
    relays = [RelayLayers(forward, backward) for forward, backward in states]
    for forward, backward in states:
        client.add_hop(forward, backward)
    rows = []
    for turn, hop in enumerate((0, 1, 2, 2, 1, 0, 2)):
        command = RELAY_EARLY if turn < 3 else RELAY
        payload = draw(PAYLOAD)
        body, tag = client.send(hop, command, payload)
        wire = [body.hex()]
        for relay in relays[: hop + 1]:
            tag_, rest, _ = relay.outbound(command, body[:TAG], body[TAG:])
            body = tag_ + rest
            wire.append(body.hex())
        rows.append(["out", hop, command, payload.hex(), tag.hex(), wire])
        payload = draw(PAYLOAD)
        tag, rest = relays[hop].originate(command, payload)
        body = tag + rest
        wire = [body.hex()]
        for relay in reversed(relays[:hop]):
            body = b"".join(relay.inbound(command, body[:TAG], body[TAG:]))
            wire.append(body.hex())
        rows.append(["in", hop, command, payload.hex(), tag.hex(), wire])
    return {
        "about": "states: [forward 80, backward 80] per relay. cells: [direction, hop from 0, command, "
        "payload, tag to acknowledge, [body on each link, as it is made]]; an outbound cell's last body "
        "is what its hop has after its own layer",
        "states": [[forward.hex(), backward.hex()] for forward, backward in states],
        "cells": rows,
    }


def handshake() -> Rows:
    rows = []
    for name, ver in (("circuit", CIRCUIT), ("rendezvous", rendezvous(bytes(range(32))))):
        draw = fixed(name)
        server_id, private = draw(32), draw(32)
        server = KeyPair.from_private(private)
        x_and_kem = draw(32) + draw(64)
        client = _client(server_id, server.public, ver, x_and_kem)
        answer = respond(
            client.message,
            server_id=server_id,
            keys=[server],
            ver=ver,
            client_message_bytes=16,
            server_message=bytes(range(16, 32)),
            keystream_bytes=224,
            random_bytes=draw,
        )
        rows.append(
            [
                server_id.hex(),
                private.hex(),
                ver.hex(),
                x_and_kem.hex(),
                client.message.hex(),
                answer.reply.hex(),
                answer.keystream.hex(),
            ]
        )
    return {
        "about": "[id, b, VER, x 32 | ML-KEM seed 64, client's flight, a server's reply, keystream 224]; "
        "client message 00..0f, server message 10..1f",
        "exchanges": rows,
    }


def _client(server_id: bytes, server_key: bytes, ver: bytes, x_and_kem: bytes) -> ClientHandshake:
    draws = [x_and_kem[:32], x_and_kem[32:]]
    return ClientHandshake(
        server_id=server_id,
        server_key=server_key,
        ver=ver,
        client_message=bytes(range(16)),
        random_bytes=lambda _: draws.pop(0),
    )


def identity() -> Rows:
    one = IdentityKeys.generate(fixed("identity"))
    signer = SigningKey(bytes(range(32)))
    periods = []
    for period, seconds in ((0, 86_400), (20_000, 86_400), (20_000, 3_600)):
        blinded = one.blind(period, seconds)
        signature = blinded.sign(b"onionshh test v1", fixed("nonce"))
        periods.append([period, seconds, blinded.public.hex(), blinded.subcredential.hex(), signature.hex()])
    return {
        "about": "stored: version, p, ML-DSA seed, nonce secret. periods: [period, seconds, A', "
        "subcredential, A' over 'onionshh test v1' with the nonce's 32 bytes `nonce`]. pq: a signature over "
        "the same. bad_addresses: [text, what is wrong]. ed25519: seed 00..1f over the same",
        "stored": one.to_bytes().hex(),
        "A": one.A.hex(),
        "P": one.P.hex(),
        "address": one.address,
        "nonce": fixed("nonce")(32).hex(),
        "periods": periods,
        "pq": one.sign_pq(b"onionshh test v1").hex(),
        "ed25519": signer.sign(b"onionshh test v1").hex(),
        "bad_addresses": [
            [bech32m.encode("shh", b"\x02" + one.A), "version 2"],
            [bech32m.encode("ssh", b"\x01" + one.A), "prefix"],
            [bech32m.encode("shh", b"\x01" + one.A[:31]), "31 bytes"],
            [bech32m.encode("shh", b"\x01" + bytes(32)), "a point of order 4"],
            [bech32m.encode("shh", b"\x01\x01" + bytes(31)), "the identity"],
            [bech32m.encode("shh", b"\x01\x02" + bytes(31)), "off the curve"],
            [one.address[:-1] + ("q" if one.address[-1] != "q" else "p"), "checksum"],
            [one.address[:30] + one.address[30:].upper(), "mixed case"],
        ],
    }


def seals() -> Rows:
    key = SealKey.generate(fixed("seal"))
    info, plaintext = b"onionshh intro v1", bytes(range(40))
    return {
        "about": "key: ML-KEM seed 64 | X25519 private 32; sealed: what once was sealed to it",
        "key": key.to_bytes().hex(),
        "public": key.public.hex(),
        "info": info.hex(),
        "plaintext": plaintext.hex(),
        "sealed": seal(key.public, info, plaintext).hex(),
    }


def descriptor() -> Rows:
    one = IdentityKeys.generate(fixed("identity"))
    draw = fixed("descriptor")
    inner = EndpointDescriptor(
        revision=70_000,
        expiry=1_728_003_600,
        rendezvous_key=draw(32),
        seal_key=draw(HPKE_KEY),
        introducers=tuple(IntroducerEntry(draw(32), draw(32), 1_728_003_600 + n) for n in range(6)),
        P=one.P,
        pq_public=one.pq_public,
    )
    full = replace(
        inner,
        proof=ProofWanted(draw(32), 64, 1_728_000_300),
        sends_no_receipts=True,
        classes=COVERED,
        letter_key=draw(HPKE_KEY),
        letters_until=1_728_604_800,
    )
    key = SigningKey(draw(32))
    data, full_data = (
        build_descriptor(
            one, each, period=20_000, period_seconds=86_400, period_key=key, random_bytes=draw
        ).hex()
        for each in (inner, full)
    )
    return {
        "about": "an endpoint descriptor as it lies on the ring of this period, and the row inside it "
        "(u16 length first); it opens for this address until the row's expiry. full: another with every "
        "field filled (a proof, both flags, both classes, a letter key); it opens until letters_until",
        "address": one.address,
        "period": 20_000,
        "period_seconds": 86_400,
        "wall": 1_728_000_000,
        "row": inner.encode().hex(),
        "descriptor": data,
        "letters_until": full.letters_until,
        "full_row": full.encode().hex(),
        "full_descriptor": full_data,
    }


def introduction() -> Rows:
    """An introduction with one point and one with three, and every answer to them."""
    draw = fixed("introduction")
    seal_key, rendezvous_private, subcredential = SealKey.generate(draw), draw(32), draw(32)
    points = [RelayId(draw(32)) for _ in range(3)]
    rows = []
    for kept, count, ride in ((False, 1, draw(296)), (True, 3, b"")):
        sent = Introduction(
            auth_key=AuthKey(draw(32)),
            period=20_000,
            subcredential=subcredential,
            rendezvous_key=KeyPair.from_private(rendezvous_private).public,
            seal_key=seal_key.public,
            rendezvous_points=points[:count],
            privacy_class=count - 1,
            record=ride,
            random_bytes=draw,
            keep_session=kept,
        )
        message = Introduce.decode_untrusted(sent.message)
        opened = open_introduction_untrusted(message, seal_key, subcredential)
        rows.append(
            {
                "message": sent.message.hex(),
                "class": opened.privacy_class,
                "keep_session": opened.keep_session,
                "points": [point.hex() for point in opened.rendezvous_points],
                "seed": opened.seed.hex(),
                "handshake": opened.handshake.hex(),
                "record": opened.record.hex(),
                "legs": [[leg.seed.hex(), leg.cookie.hex(), leg.reply_key.hex()] for leg in sent.legs],
            }
        )
    resume = Resume(draw(32), draw(16), draw(12), draw(428))
    toll = _toll(draw)
    return {
        "about": "introductions of period 20000. handshake: the hs3h client message. legs: [seed, cookie, "
        "reply key]. messages: each INTRODUCE1 as it was once sealed. resume: an INTRODUCE1 of kind 2, with "
        "[auth key, tag, salt, associated data, sealed]; only its shape is real. toll: an introduction that "
        "proves an effort of 96, and the task that it solves. wanted, load: INTRO_PROOF and INTRO_LOAD",
        "seal_key": seal_key.to_bytes().hex(),
        "rendezvous_key": rendezvous_private.hex(),
        "subcredential": subcredential.hex(),
        "introductions": [{name: row[name] for name in row if name != "message"} for row in rows],
        "messages": [row["message"] for row in rows],
        "resume": [
            resume.encode().hex(),
            [part.hex() for part in (resume.auth_key, resume.tag, resume.salt, resume.header, resume.sealed)],
        ],
        "toll": toll,
    }


def _toll(draw: RandomBytes) -> Rows:
    """What an endpoint under load wants, and an introduction that proves it."""
    wanted = IntroProof(draw(32), 96, 1_728_007_200)
    auth_key, sealed = AuthKey(draw(32)), draw(INTRODUCE_SEALED)
    task = intro_task(wanted.seed, auth_key, wanted.effort, sealed)
    search = Search(task, wanted.effort, draw)
    while not search.look(1000):
        pass
    paid = Paid(wanted.effort, search.nonce, wanted.seed[:SEED_HEAD])
    return {
        "wanted": wanted.encode().hex(),
        "task": task.hex(),
        "message": Introduce(auth_key, 1, 20_000 & 0xFF, paid.encode(), sealed).encode().hex(),
        "load": IntroLoad(70_000, 3).encode().hex(),
    }


def records() -> Rows:
    """One record of each kind, with bodies of the lengths that a kind may have."""
    draw = fixed("record")
    lengths = {
        record.WHISPER: (0, 256, 257),
        record.RECEIPT: (0, 1),
        record.ASK: (0,),
        record.PART: (22,),
        record.REFRESH: (1220,),
        record.REFRESHED: (1124,),
        record.WAY_BACK: (137,),
        record.PROVE: (72,),
    }
    made: list[record.Record] = []
    for kind, sizes in lengths.items():
        for size in sizes:
            names = kind in (record.WHISPER, record.RECEIPT, record.ASK)
            in_reply_to = WhisperId(draw(16)) if names else record.NO_ID
            wanted = kind not in (record.WHISPER, record.PART) or size == 0
            of_kind = (WhisperId(draw(16)), in_reply_to, 1_728_000_000, len(made) % 4, kind, draw(size))
            made.append(record.Record(*of_kind, receipt_wanted=wanted))
    for why in (record.EXPIRED, record.TOO_FAR, record.NOT_WHOLE):
        of = (WhisperId(draw(16)), WhisperId(draw(16)), 1_728_000_000, 1, record.REFUSED)
        made.append(record.Record(*of, bytes((why,))))
    return {
        "about": "records: [id, in reply to, expires, class, receipt wanted, kind, body, on the wire]",
        "records": [
            [
                one.whisper_id.hex(),
                one.in_reply_to.hex(),
                one.expires,
                one.privacy_class,
                one.receipt_wanted,
                one.kind,
                one.body.hex(),
                one.encode().hex(),
            ]
            for one in made
        ],
    }


def directory() -> Rows:
    """A relay's descriptor, a consensus of three relays, and the proof of the second row."""
    draw = fixed("directory")
    key, authority = SigningKey(draw(32)), SigningKey(draw(32))
    onion_key, signing = draw(32), SigningKey(draw(SIGNING)[:32])
    relay = RelayDescriptor(
        identity=RelayId(key.public),
        onion_key=onion_key,
        nickname="known",
        addresses=(
            Address.of("192.0.2.1", 9001),
            Address.of("2001:db8::1", 9001),
            Address.of("a2" * 28 + ".onion", 443),
        ),
        signing=certify(key, signing.public, 1_730_592_000).encode(),
        family=tuple(sorted(RelayId(draw(32)) for _ in range(2))),
        bandwidth=10_000_000,
        capabilities=CAPABILITY_RING | CAPABILITY_MAILBOXES,
        versions=(1, 2),
        software="onionshh 0.1.0",
        paced=Paced(64, 1),
        published=1_728_000_000,
    )
    rows = [
        RelayRow(
            identity=relay.identity if number == 1 else RelayId(draw(32)),
            onion_key=draw(32),
            nickname=f"relay{number}",
            addresses=relay.addresses if number == 1 else (Address.of(f"192.0.2.{number}", 9001),),
            weight=1000 + number,
            flags=GUARD | RING,
            first_seen=1_727_000_000 + number,
            family=relay.family if number == 1 else (),
            software=relay.software if number == 1 else "",
        )
        for number in range(3)
    ]
    consensus = Consensus(
        network="known answers",
        valid_after=1_728_000_000,
        fresh_until=1_728_003_600,
        valid_until=1_728_086_400,
        params=(("period_seconds", 86_400), ("window", 496)),
        shared_random=tuple(SharedRandom(period, draw(32), 1_727_956_800) for period in (19_999, 20_000)),
        relays=tuple(sorted(rows)),
        crowd=Paced(640, 2),
        previous=draw(32),
        votes=(Vote(draw(32), draw(32)),),
    )
    leaves = [merkle.Leaf(pack(row), row.weight) for row in consensus.relays]
    return {
        "about": "relay: a relay descriptor signed by a signing key. plain: the same by the identity. "
        "addresses: what it names. consensus: a document that "
        "the authority signed. root: over its rows. proof: of row 1, [hash, weight] of each neighbour. "
        "place: the weight before that row, and of all",
        "relay": sign_descriptor(relay, signing).hex(),
        "plain": sign_descriptor(replace(relay, signing=b""), key).hex(),
        "addresses": [list(address) for address in relay.addresses],
        "authority": authority.public.hex(),
        "consensus": sign_consensus(consensus.encode_body(), [authority]).hex(),
        "root": consensus.root.hex(),
        "row": leaves[1].row.hex(),
        "proof": [[step.hash.hex(), step.weight] for step in merkle.proof(leaves, 1)],
        "place": [leaves[0].weight, sum(leaf.weight for leaf in leaves)],
    }


def session() -> Rows:
    """A session from its root: chains, resumptions, legs, a refresh."""
    draw = fixed("session")
    root = draw(32)
    visitor = Session.started(root, introduced=True, period=20_000, wall=1_728_000_000)
    chains, mail = visitor.chains, visitor.mail
    rows: Rows = {
        "about": "V, E, rs, mail from a root. later_mail: of the next periods. steps: of V, with their tags. "
        "resumptions: of these steps in turn, with the record of an n. legs: of the last, with seed, cookie, "
        "reply key, RENDEZVOUS1, forward, backward. refresh: of epoch 1, by x 32 | ML-KEM seed 64; its "
        "answer was drawn once",
        "root": root.hex(),
        "id": visitor.session_id.hex(),
        "V": chains.spend.key.hex(),
        "E": chains.accept.key.hex(),
        "rs": chains.secret.hex(),
        "mail": mail.key.hex(),
    }
    rows["later_mail"] = []
    for period in range(20_009, 20_012):
        mail.keep_from(period)
        rows["later_mail"].append(mail.key.hex())
    private = draw(96)
    draws = [private[:32], private[32:]]
    refresh = visitor.offer(lambda _: draws.pop(0))
    endpoint = Session.started(root, introduced=False, period=20_000, wall=1_728_000_000)
    refreshed = endpoint.answer_untrusted(refresh, draw)
    rows |= _resumptions(visitor, draw)
    if refreshed is None or not visitor.refreshed_untrusted(refreshed, 1_728_000_000):
        raise ValueError("a refresh without any trouble fails")
    new = visitor.chains
    keys = [key.hex() for key in (new.spend.key, new.accept.key, new.secret)]
    return rows | {
        "private": private.hex(),
        "refresh": refresh.hex(),
        "refreshed": [refreshed.hex(), *keys],
    }


def _resumptions(visitor: Session, draw: RandomBytes) -> Rows:
    resumptions, steps = [], []
    for count, size in ((0, 300), (1, 376), (3, 0)):
        spent = visitor.spend()
        steps.append([spent.step.hex(), tag_of(spent.step).hex()])
        step, auth_key = SpentStep(spent.step, draw(12)), AuthKey(draw(32))
        points, ride = tuple(RelayId(draw(32)) for _ in range(count)), draw(size)
        message = step.seal(auth_key, Resumption(count % 3, points, ride))
        names = [point.hex() for point in points]
        resumptions.append([step.salt.hex(), auth_key.hex(), count % 3, names, ride.hex(), message.hex()])
    legs, answer_salt = [], draw(32)
    for number in range(3):
        leg, (rendezvous1, keys) = step.leg(number), step.answer(number, answer_salt)
        parts = (leg.seed, leg.cookie, leg.reply_key, rendezvous1, keys.forward, keys.backward)
        legs.append([part.hex() for part in parts])
    return {"steps": steps, "resumptions": resumptions, "answer_salt": answer_salt.hex(), "legs": legs}


def mailbox() -> Rows:
    """Letters, what a pair leaves, deposits with their work, lists, and what a relay answers."""
    draw = fixed("mailbox")
    letter_key, subcredential, mail = SealKey.generate(draw), draw(32), draw(32)
    owner, item_key = SigningKey(draw(32)), SigningKey(draw(32))
    inbox = Mailbox(INBOX, owner.public, 20_000)
    info = letter_info(19_999, subcredential, item_key.public)
    senders: tuple[NewSender | KnownSender, ...] = (
        NewSender(draw(32)),
        KnownSender(SessionId(draw(16)), letter_proof(mail, item_key.public)),
    )
    letters = [
        Letter(sender, WhisperId(draw(16)), part % 4, part, parts, draw(size))
        for sender, (part, parts, size) in zip(senders, ((0, 1, 296), (15, 16, 3536)), strict=True)
    ]
    of_pair = pair.pair_mailbox(mail, pair.FROM_ENDPOINT, 20_000)
    left = pair.PairPart(WhisperId(draw(16)), 1, 2, pair.pack_records([draw(296), draw(296)]))
    value = pair.seal_pair(mail, of_pair, item_key.public, left, draw)
    task = put_task(draw(32), of_pair, item_key.public, 1_728_003_600, value)
    search = Search(task, 96, draw)
    while not search.look(1000):
        pass
    expires = 1_728_003_600
    put = make_put(item_key, of_pair, expires=expires, revision=1, value=value, effort=96, nonce=search.nonce)
    binding, relay = draw(32), RelayId(draw(32))
    wanted = make_list(
        inbox, mode=VALUES, after=7, wait=600, binding=binding, relay_id=relay, sign=owner.sign
    )
    item = Item(put.item_id, put.expires, put.revision, put.signature, put.value)
    answers = (Items(STORED, 9, items=(item,)), Items(STORED, 9, heads=(Head(put.item_id, 9, expires),)))
    return {
        "about": "letters: plaintexts. sealed: their values, once sealed to letter_key under info. proof: of "
        "mail and item. root: of the seed of the first letter, in the inbox. pair: [mailbox, plain, salt] of "
        "direction 1. put: a deposit of it, with its task and a nonce of effort 96. recalled: revision 2. "
        "list: of the inbox, for this binding and relay. kept, items: [mode, message]",
        "letter_key": letter_key.to_bytes().hex(),
        "subcredential": subcredential.hex(),
        "mail": mail.hex(),
        "inbox": inbox.encode().hex(),
        "item_seed": item_key.seed.hex(),
        "info": info.hex(),
        "letters": [letter.encode().hex() for letter in letters],
        "sealed": [seal_letter(letter_key.public, info, letter).hex() for letter in letters],
        "proof": letter_proof(mail, item_key.public).hex(),
        "root": letter_root(letters[0].encode()[1:33], inbox.name, inbox.period).hex(),
        "pair": [part.hex() for part in (of_pair.encode(), left.encode(), value[:16])],
        "task": task.hex(),
        "nonce": search.nonce.hex(),
        "put": put.encode().hex(),
        "recalled": make_put(item_key, of_pair, expires=expires, revision=2, value=b"").encode().hex(),
        "binding": binding.hex(),
        "relay": relay.hex(),
        "list": wanted.encode().hex(),
        "kept": Kept(STORED, 96).encode().hex(),
        "items": [[mode, one.encode().hex()] for mode, one in zip((VALUES, HEADS), answers, strict=True)],
    }


def board() -> Rows:
    """Topics with their mailboxes, and a post of two parts with its values."""
    draw = fixed("board")
    topic, item_ids = Topic(draw(32)), [draw(32), draw(32)]
    author = IdentityKeys.generate(fixed("identity")).author_key(topic.secret)
    box, post = topic.mailbox(20_000), draw(16)
    chunks = split_post(draw(5_300))
    entries = [
        Entry(author.public, 70_000, 28_800_007, post, part, len(chunks), chunk)
        for part, chunk in enumerate(chunks)
    ]
    values = [
        seal_entry(topic, box, item_id, author, entry, draw)
        for item_id, entry in zip(item_ids, entries, strict=True)
    ]
    return {
        "about": "topics: [name, its secret]. mailbox: of the secret topic in period 20000, and the seed of "
        "its key. author: the key on this board of the identity in identity.json. items: of one post, "
        "[item id, what is signed, value]",
        "topics": [[name, Topic.of(name).secret.hex()] for name in ("chess", "café")],
        "secret": topic.secret.hex(),
        "mailbox": [box.encode().hex(), topic.key(20_000).seed.hex()],
        "author": author.public.hex(),
        "items": [
            [item_id.hex(), entry.encode().hex(), value.hex()]
            for item_id, entry, value in zip(item_ids, entries, values, strict=True)
        ],
    }


def meeting() -> Rows:
    """A hello, an answer to it, and the session that both lead to."""
    draw = fixed("meeting")
    secret, lower, seed = draw(32), b"\x10" + draw(15), draw(SEED)
    hello = Hello.of(secret, lower, Offer.of_seed(seed).public)
    answer, agreed = answer_untrusted(secret, hello, b"\x20" + draw(15), 20_000, draw)
    return {
        "about": "topic: of the board where they meet. seed: x 32 | ML-KEM seed 64 of the hello's offer. "
        "answer: [message, instance, period, root], drawn once",
        "secret": secret.hex(),
        "topic": meeting_topic(secret).secret.hex(),
        "seed": seed.hex(),
        "hello": hello.encoded.hex(),
        "answer": [answer.hex(), agreed.instance.hex(), agreed.period, agreed.root.hex()],
    }


MAKERS: dict[str, Callable[[], Rows]] = {
    "primitives.json": primitives,
    "layers.json": layers,
    "handshake.json": handshake,
    "identity.json": identity,
    "seal.json": seals,
    "descriptor.json": descriptor,
    "introduction.json": introduction,
    "record.json": records,
    "directory.json": directory,
    "session.json": session,
    "mailbox.json": mailbox,
    "board.json": board,
    "meeting.json": meeting,
}
# Made with randomness of the libraries: no second run gives the same bytes.
DRAWN: dict[str, tuple[str, ...]] = {
    "handshake.json": ("exchanges",),
    "identity.json": ("pq",),
    "seal.json": ("sealed",),
    "descriptor.json": ("descriptor", "full_descriptor"),
    "introduction.json": ("messages",),
    "session.json": ("refreshed",),
    "mailbox.json": ("sealed",),
    "meeting.json": ("answer",),
}


def make(name: str, *, fresh: bool = False) -> str:
    """The text of one file; what libraries drew is kept from the file that is there, unless `fresh`."""
    rows = MAKERS[name]()
    path = FOLDER / name
    if path.exists() and not fresh:
        kept = json.loads(path.read_text(encoding="utf-8"))
        rows |= {key: kept[key] for key in DRAWN.get(name, ()) if key in kept}
    return json.dumps(rows, indent=1) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.vectors.make", description="Write the known answers."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; say whether they are as made")
    parser.add_argument("--fresh", action="store_true", help="keep nothing of what libraries drew before")
    options = parser.parse_args(arguments)
    wrong = 0
    for name in MAKERS:
        text = make(name, fresh=options.fresh)
        if options.check:
            good = (FOLDER / name).read_text(encoding="utf-8") == text
            print(f"{name}: {'as made' if good else 'DIFFERS'}")
            wrong += not good
        else:
            (FOLDER / name).write_text(text, encoding="utf-8")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
