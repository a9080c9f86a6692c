from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from onionshh import geometry as g
from onionshh.core.base.params import Params
from onionshh.core.endpoint.descriptor import EARLY_SECONDS, EXPIRY_MOST_SECONDS
from onionshh.core.endpoint.effort import EFFORT_LEAST, Search, publish_task
from onionshh.core.endpoint.ring import positions, responsible
from onionshh.core.paths.view import View
from onionshh.core.roles import Origin
from onionshh.crypto.identity import SigningKey
from onionshh.crypto.primitives import sha3_256
from onionshh.reasons import Reason
from onionshh.rendezvous.ring import (
    FETCH_BURST,
    FETCH_RATE,
    MEMORY_SECONDS,
    PUBLISH_BURST,
    PUBLISH_RATE,
    REQUESTS_MOST,
    Ring,
)
from onionshh.rendezvous.ring_store import RingStore
from onionshh.rendezvous.shelf import ERASED_AT_ONCE, Row
from onionshh.wire import messages as m
from onionshh.wire.consensus import RelayRow, SharedRandom
from onionshh.wire.endpoint import Outer, period_key_signed
from tests.core import networks
from tests.core.networks import DAY, START, plain, relay_id
from tests.rendezvous.circuits import Circuit, Relay
from tests.seeded import seeded

OWN = relay_id(0)
WALL = START + DAY // 2 + 60
PERIOD_KEY = SigningKey.generate(seeded(99))


@dataclass
class Shown:
    """The view and the parameters a ring relay has; a test changes them under way."""

    view: View | None
    params: Params


class Disk:
    """A file of a ring, and what was written to it. While it `fails`, nothing can be."""

    def __init__(self, path: Path) -> None:
        self.store = RingStore(str(path / "ring.db"))
        self.fails = False
        self.commits = 0

    def commit(self, rows: Sequence[object]) -> None:
        if self.fails:
            raise OSError("No space left on device")
        self.commits += 1
        self.store.commit(rows)

    @property
    def held(self) -> list[bytes]:
        """The descriptors in the file, in the order in which they were written."""
        return [row.document for row in self.store.rows()]


def make(
    rows: list[RelayRow] | None = None,
    params: Params | None = None,
    disk: Disk | None = None,
    salt: bytes = b"",
) -> tuple[Relay, Ring, Shown]:
    """A ring relay; with a `disk` it starts with what is there."""
    shown = Shown(networks.view(rows or plain(3)), params or Params())
    held = () if disk is None else disk.store.rows()
    role = Ring(OWN, lambda: shown.view, lambda: shown.params, store=disk, rows=held, salt=salt)
    return Relay(role, wall=WALL), role, shown


def days(view: View, first: int, last: int) -> View:
    """The same network with the random values of these periods, counted from its own."""
    values = tuple(
        SharedRandom(period, sha3_256(b"srv", period.to_bytes(8, "big")), period * DAY - DAY // 2)
        for period in range(view.period + first, view.period + last + 1)
    )
    return View(replace(view.consensus, shared_random=values))


def name(number: int) -> SigningKey:
    """A key to store under. To a ring relay an ordinary one looks like a blinded one."""
    return SigningKey.generate(seeded(number))


def document(
    number: int = 1,
    *,
    revision: int = 5,
    period: int = START // DAY,
    expiry: int = WALL + DAY,
    salt: bytes = bytes(16),
) -> bytes:
    """What a ring relay takes for an endpoint descriptor; whether it opens is not for it to see."""
    key = name(number)
    certificate = key.sign(period_key_signed(period, PERIOD_KEY.public, expiry))
    outer = Outer(
        blinded=key.public,
        period=period,
        revision=revision,
        salt=salt,
        period_key=PERIOD_KEY.public,
        expiry=expiry,
        certificate=certificate,
        sealed=bytes(g.DESCRIPTOR_SEALED),
    )
    return outer.encode()[: -g.SIGNATURE] + PERIOD_KEY.sign(outer.signed)


def ask(relay: Relay, message_type: int, body: bytes, circuit: Circuit | None = None) -> m.Found:
    [(answer, found)] = relay.send(circuit or relay.circuit(), message_type, body)
    assert answer == m.FOUND
    return m.Found.decode_untrusted(found)


def publish(relay: Relay, body: bytes, origin: Origin = "192.0.2.1") -> int:
    return ask(relay, m.PUBLISH, body, relay.circuit(origin)).status


def fetch(relay: Relay, number: int = 1, period: int = START // DAY) -> m.Found:
    return ask(relay, m.FETCH, m.Fetch(name(number).public, period).encode())


def test_what_was_published_is_found_under_its_key_and_period_only() -> None:
    relay, _, _ = make()
    assert publish(relay, document()) == m.STORED
    assert fetch(relay) == m.Found(m.FOUND_IT, document())
    assert fetch(relay, 2).status == m.NOT_FOUND
    assert fetch(relay, period=START // DAY + 1).status == m.NOT_FOUND


def test_it_stays_when_the_circuit_it_came_on_ends() -> None:
    relay, _, _ = make()
    circuit = relay.circuit()
    ask(relay, m.PUBLISH, document(), circuit)
    relay.end(circuit)
    assert fetch(relay).status == m.FOUND_IT


def test_a_later_revision_replaces_and_an_earlier_or_equal_one_is_stale() -> None:
    relay, role, _ = make()
    assert publish(relay, document(revision=5)) == m.STORED
    assert publish(relay, document(revision=4)) == m.STALE
    assert publish(relay, document(revision=5, salt=b"s" * 16)) == m.STALE
    assert fetch(relay).descriptor == document(revision=5)
    assert publish(relay, document(revision=6)) == m.STORED
    assert fetch(relay).descriptor == document(revision=6)
    assert (role.kept, role.kept_bytes) == (1, g.DESCRIPTOR)
    assert role.statistics() == {"descriptors": 1, "descriptor_bytes": g.DESCRIPTOR}
    assert relay.drops == [Reason.PUBLISH_STALE] * 2


def test_the_same_bytes_once_more_are_an_upload_whose_answer_was_lost() -> None:
    relay, role, _ = make()
    assert [publish(relay, document()) for _ in range(2)] == [m.STORED] * 2
    assert role.kept == 1


@pytest.mark.parametrize("at", [0, 33, 47, 48, 64, 103, 110, 200, 5000, g.DESCRIPTOR - 70, g.DESCRIPTOR - 1])
def test_a_flipped_bit_ends_the_circuit_and_what_is_kept_stays(at: int) -> None:
    relay, role, _ = make()
    publish(relay, document(revision=5))
    forged = bytearray(document(revision=6))
    forged[at] ^= 1
    circuit = relay.circuit()
    assert relay.send(circuit, m.PUBLISH, bytes(forged)) == []
    assert circuit.ended_for
    assert role.kept == 1
    assert fetch(relay).descriptor == document(revision=5)


def test_a_forged_certificate_ends_the_circuit() -> None:
    relay, _, _ = make()
    honest = Outer.decode_untrusted(document(1))
    stolen = replace(honest, blinded=name(2).public)
    circuit = relay.circuit()
    relay.send(circuit, m.PUBLISH, stolen.encode()[: -g.SIGNATURE] + PERIOD_KEY.sign(stolen.signed))
    assert circuit.ended_for


@pytest.mark.parametrize(
    "kind, size",
    [(m.PUBLISH, n) for n in (0, 1, g.DESCRIPTOR - 1, g.DESCRIPTOR + 1, g.RING_MAX)]
    + [(m.FETCH, n) for n in (0, 39, 41, g.CONTROL_MAX)],
)
def test_a_body_of_the_wrong_size_ends_the_circuit(kind: int, size: int) -> None:
    relay, role, _ = make()
    circuit = relay.circuit()
    assert relay.send(circuit, kind, bytes(size)) == []
    assert circuit.ended_for
    assert role.kept == 0


def test_only_the_previous_current_and_next_period_are_taken() -> None:
    relay, _, shown = make()
    assert shown.view is not None
    shown.view = days(shown.view, -7, 1)  # whatever periods the consensus knows
    now = START // DAY
    statuses = [publish(relay, document(1, period=period)) for period in range(now - 2, now + 3)]
    assert statuses == [m.REFUSED, m.STORED, m.STORED, m.STORED, m.REFUSED]


def test_what_expired_is_neither_taken_nor_handed_out_and_goes_at_the_next_sweep() -> None:
    relay, role, _ = make()
    circuit = relay.circuit()
    relay.send(circuit, m.PUBLISH, document(1, expiry=WALL))
    assert circuit.ended_for
    publish(relay, document(2, expiry=WALL + 100))
    publish(relay, document(3, expiry=WALL + 5000))
    relay.tick()
    relay.now, relay.wall = 100.0, WALL + 100
    assert fetch(relay, 2).status == m.NOT_FOUND
    relay.tick()
    assert (role.kept, role.kept_bytes) == (1, g.DESCRIPTOR)
    assert fetch(relay, 3).status == m.FOUND_IT


def test_a_descriptor_stays_after_its_period_while_the_consensus_knows_that_period() -> None:
    """For a week, so that whoever leaves a letter finds it; then its ring cannot be told any more."""
    relay, role, shown = make()
    publish(relay, document(1, expiry=WALL + 8 * DAY))
    publish(relay, document(2, expiry=WALL + 3 * DAY))
    for passed, kept in ((1, 2), (2, 2), (3, 1), (7, 1), (8, 0)):
        shown.view = days(networks.view(plain(3), at=START + DAY // 2 + passed * DAY), -7, 1)
        relay.now, relay.wall = relay.now + 100.0, WALL + passed * DAY - (passed == 8)
        relay.tick()
        assert role.kept == kept, passed
        assert (fetch(relay, 1).status == m.FOUND_IT) == (kept > 0)


def test_a_descriptor_goes_with_its_period_if_the_consensus_knows_few() -> None:
    relay, role, shown = make()
    publish(relay, document(1, expiry=WALL + 8 * DAY))
    for passed, kept in ((1, 1), (2, 0)):
        shown.view = networks.view(plain(3), at=START + DAY // 2 + passed * DAY)
        relay.now += 100.0
        relay.tick()
        assert role.kept == kept


def test_what_is_kept_stays_while_there_is_no_consensus() -> None:
    relay, role, shown = make()
    publish(relay, document(1))
    shown.view = None
    relay.now += 100.0
    relay.tick()
    assert role.kept == 1


def test_the_memory_cap_holds_and_expired_ones_make_room() -> None:
    relay, role, _ = make(params=replace(Params(), descriptor_bytes=2 * g.DESCRIPTOR + 5))
    assert publish(relay, document(1, expiry=WALL + 10)) == m.STORED
    assert publish(relay, document(2)) == m.STORED
    assert publish(relay, document(3)) == m.FULL
    assert fetch(relay, 3).status == m.NOT_FOUND
    assert publish(relay, document(2, revision=6)) == m.STORED, "in place of the one before"
    relay.wall = WALL + 10
    assert publish(relay, document(3)) == m.STORED
    assert role.kept_bytes == 2 * g.DESCRIPTOR
    assert relay.drops == [Reason.PUBLISH_FULL]


def room_for(count: int) -> Params:
    return replace(Params(), descriptor_bytes=count * g.DESCRIPTOR)


def worked(number: int, least: int, *, fresh: bytes = bytes(8), **more: int) -> bytes:
    """A descriptor whose salt is a proof of at least that effort."""
    view = networks.view(plain(3))
    shared_random = view.shared_random(view.period)
    assert shared_random is not None
    search = Search(publish_task(shared_random, name(number).public, view.period), seeded(number))
    search.look(1_000_000, least)
    return document(number, salt=search.nonce + fresh, **more)


def test_an_expiry_too_far_ahead_of_what_a_consensus_confirmed_ends_the_circuit() -> None:
    relay, role, _ = make()
    last = WALL + EXPIRY_MOST_SECONDS + EARLY_SECONDS
    assert publish(relay, document(1, expiry=last)) == m.STORED
    for expiry in (last + 1, WALL + 40 * 365 * DAY, 1_099_511_627_776, 2**63 - 1):
        circuit = relay.circuit()
        assert relay.send(circuit, m.PUBLISH, document(2, expiry=expiry)) == []
        assert circuit.ended_for == Reason.DOCUMENT_FAR_FUTURE
    assert role.kept == 1


def test_who_stands_stays_and_a_flood_over_one_neighbour_displaces_itself() -> None:
    relay, role, _ = make(params=room_for(10))
    for number in (1, 2):
        assert publish(relay, document(number), f"honest{number}") == m.STORED
    flood = [publish(relay, document(number), "flood") for number in range(100, 150)]
    assert flood == [m.STORED] * 8 + [m.FULL] * 42
    for number in (3, 4, 5):  # and newcomers of others have their places
        assert publish(relay, document(number), f"honest{number}") == m.STORED
    assert {publish(relay, document(number), "flood") for number in range(150, 200)} == {m.FULL}
    assert {fetch(relay, number).status for number in range(1, 6)} == {m.FOUND_IT}
    # Of the flood those that came first are left.
    assert [fetch(relay, number).status for number in range(100, 108)] == [m.FOUND_IT] * 5 + [m.NOT_FOUND] * 3
    assert role.kept == 10
    assert relay.drops.count(Reason.PUBLISH_DISPLACED) == 3


def test_whoever_has_all_neighbours_is_outbid_by_one_proof() -> None:
    relay, _, _ = make(params=room_for(12))
    origins = [f"relay{number}" for number in range(4)]
    for number in range(100, 160):
        publish(relay, document(number), origins[number % 4])
    assert publish(relay, document(1), origins[0]) == m.FULL
    assert publish(relay, worked(1, EFFORT_LEAST), origins[0]) == m.STORED
    assert {publish(relay, document(n), origins[n % 4]) for n in range(160, 220)} == {m.FULL}
    assert fetch(relay, 1).status == m.FOUND_IT
    # Whoever wants it out has to have as much effort for each place of its share; and is outbid again.
    for number in (301, 302, 303):
        assert publish(relay, worked(number, 1024), origins[0]) == m.STORED
    assert fetch(relay, 1).status == m.NOT_FOUND
    assert publish(relay, worked(1, 4096), origins[0]) == m.STORED


def test_a_later_revision_of_a_name_keeps_its_age_and_its_place() -> None:
    relay, _, _ = make(params=room_for(3))
    for number in (1, 2, 3):
        publish(relay, document(number))
    publish(relay, document(1, revision=6))
    assert publish(relay, document(9), "another") == m.STORED
    assert [fetch(relay, number).status for number in (1, 2, 3)] == [m.FOUND_IT] * 2 + [m.NOT_FOUND]
    for revision in range(7, 20):
        assert publish(relay, document(2, revision=revision)) == m.STORED


def test_nobody_crowds_a_descriptor_out_by_bringing_it_from_a_crowded_neighbour() -> None:
    """A ring relay may carry what it was given to the next one before its owner does, through the flood."""
    relay, _, _ = make(params=room_for(6))
    for number in range(100, 110):
        publish(relay, document(number), "flood")
    assert publish(relay, worked(1, EFFORT_LEAST), "flood") == m.STORED
    assert publish(relay, document(2, revision=5), "honest") == m.STORED
    assert publish(relay, document(2, revision=5), "flood") == m.STORED
    assert publish(relay, document(2, revision=6), "flood") == m.STORED
    assert publish(relay, worked(1, EFFORT_LEAST), "honest") == m.STORED, "and its owner frees it"
    for number in range(300, 305):
        publish(relay, worked(number, 1024), "flood")
    assert [fetch(relay, number).status for number in (1, 2)] == [m.FOUND_IT] * 2


def test_a_newcomer_that_would_not_stay_costs_no_signature_check() -> None:
    relay, _, _ = make(params=room_for(1))
    publish(relay, document(1))
    forged = document(2)[:-1] + b"\0"
    assert publish(relay, forged) == m.FULL
    circuit = relay.circuit("another")  # who would stay is looked at before anyone goes
    assert publish(relay, document(3), "more") == m.FULL
    relay.send(circuit, m.PUBLISH, worked(2, EFFORT_LEAST)[:-1] + b"\0")
    assert circuit.ended_for
    assert fetch(relay, 1).status == m.FOUND_IT


def test_a_proof_is_for_one_name_and_period() -> None:
    relay, _, _ = make(params=room_for(1))
    publish(relay, document(1))
    good = Outer.decode_untrusted(worked(2, EFFORT_LEAST, fresh=b"12345678"))
    assert publish(relay, document(3, salt=good.salt)) == m.FULL
    assert publish(relay, document(2, salt=good.salt, period=START // DAY + 1)) == m.FULL
    assert publish(relay, document(2, salt=good.salt, revision=77)) == m.STORED


def test_a_flood_over_one_neighbour_meets_its_rate_and_a_proof_passes_it() -> None:
    relay, _, _ = make()
    for _ in range(PUBLISH_BURST):
        assert publish(relay, document(1), "flood") == m.STORED
    assert publish(relay, document(2), "flood") == m.FULL
    assert relay.drops == [Reason.PUBLISH_RATE]
    assert publish(relay, document(2), "another") == m.STORED
    assert publish(relay, worked(3, EFFORT_LEAST), "flood") == m.STORED
    relay.now = 1.0
    statuses = [publish(relay, document(1), "flood") for _ in range(PUBLISH_RATE + 1)]
    assert statuses == [m.STORED] * PUBLISH_RATE + [m.FULL]


def test_fetching_without_end_ends_the_circuit_and_no_other_neighbours() -> None:
    relay, _, _ = make()
    wanted = m.Fetch(name(1).public, START // DAY).encode()
    for _ in range(FETCH_BURST):
        assert ask(relay, m.FETCH, wanted).status == m.NOT_FOUND
    circuit = relay.circuit()
    assert relay.send(circuit, m.FETCH, wanted) == []
    assert circuit.ended_for == Reason.FETCH_RATE
    assert ask(relay, m.FETCH, wanted, relay.circuit("another")).status == m.NOT_FOUND
    relay.now = 1.0
    assert {ask(relay, m.FETCH, wanted).status for _ in range(FETCH_RATE)} == {m.NOT_FOUND}


def test_a_cap_that_falls_is_kept_to() -> None:
    relay, role, shown = make(params=room_for(5))
    for number in range(1, 6):
        publish(relay, document(number), f"origin{number % 2}")
    shown.params = room_for(2)
    assert publish(relay, document(1, revision=6), "origin1") == m.STORED
    assert role.kept == 2
    assert fetch(relay, 1).status == m.FOUND_IT


def test_replacing_one_that_expired_while_there_is_no_room_is_counted_right() -> None:
    relay, role, shown = make(params=replace(Params(), descriptor_bytes=g.DESCRIPTOR))
    publish(relay, document(1, expiry=WALL + 10))
    shown.params = replace(Params(), descriptor_bytes=g.DESCRIPTOR - 1)
    relay.wall = WALL + 10
    assert publish(relay, document(1, revision=6)) == m.FULL
    assert (role.kept, role.kept_bytes) == (0, 0)


def near_and_far(view: View) -> tuple[list[int], list[int]]:
    """Numbers of keys that relay 0 is responsible for, and of those it is not even near."""
    ring = positions(view, view.period)
    assert ring is not None
    near, far = [], []
    for number in range(1, 400):
        if OWN in {row.identity for rows in ring.responsible(name(number).public) for row in rows}:
            near.append(number)
        elif OWN not in {row.identity for rows in ring.responsible(name(number).public, 8) for row in rows}:
            far.append(number)
    return near, far


def test_a_relay_keeps_what_it_is_responsible_for_and_refuses_what_is_far() -> None:
    relay, _, shown = make(plain(40))
    assert shown.view is not None
    near, far = near_and_far(shown.view)
    assert len(near) > 20
    assert len(far) > 100
    assert {publish(relay, document(number)) for number in near[:10]} == {m.STORED}
    assert {publish(relay, document(number)) for number in far[:10]} == {m.REFUSED}
    assert set(relay.drops) == {Reason.PUBLISH_REFUSED}


def test_responsible_under_the_consensus_before_is_enough() -> None:
    crowd = plain(40)
    relay, _, shown = make(crowd)
    before = networks.view(crowd[:10])
    assert shown.view is not None
    _, far = near_and_far(shown.view)
    near_before, _ = near_and_far(before)
    number = next(n for n in near_before if n in far)
    assert publish(relay, document(number)) == m.REFUSED
    shown.view = View(shown.view.consensus, before.consensus)
    assert publish(relay, document(number)) == m.STORED


def test_a_publisher_whose_later_consensus_lost_some_of_our_neighbours_is_served() -> None:
    crowd = plain(40)
    relay, _, shown = make(crowd)
    assert shown.view is not None
    served = 0
    for number in range(1, 200):
        kept = responsible(shown.view, shown.view.period, name(number).public)
        assert kept is not None
        gone = {row.identity for rows in kept for row in rows[:2]} - {OWN}
        later = networks.view([row for row in crowd if row.identity not in gone])
        asked = responsible(later, later.period, name(number).public)
        assert asked is not None
        if OWN in {row.identity for rows in asked for row in rows}:
            assert publish(relay, document(number)) == m.STORED
            served += 1
    assert served > 30


def test_a_relay_that_its_own_consensus_does_not_list_yet_takes_what_it_is_given() -> None:
    relay, _, _ = make(plain(40)[1:])
    assert {publish(relay, document(number)) for number in range(1, 20)} == {m.STORED}
    assert publish(relay, document(1, period=START // DAY + 2)) == m.REFUSED


def test_a_relay_listed_but_not_on_the_ring_refuses() -> None:
    rows = plain(3)
    relay, _, _ = make([networks.row(0, flags=0), *rows[1:]])
    assert publish(relay, document()) == m.REFUSED


def test_without_a_consensus_nothing_is_taken() -> None:
    relay, _, shown = make()
    shown.view = None
    assert publish(relay, document()) == m.REFUSED
    assert fetch(relay).status == m.NOT_FOUND


def test_the_next_period_is_taken_before_its_random_value_has_come_to_us() -> None:
    rows = plain(40)
    relay, _, shown = make(rows)
    assert shown.view is not None
    consensus = shown.view.consensus
    shown.view = View(replace(consensus, shared_random=consensus.shared_random[1:2]))
    assert publish(relay, document(1, period=START // DAY + 1)) == m.STORED
    assert publish(relay, document(1, period=START // DAY - 1)) == m.REFUSED


def test_the_ring_follows_the_view() -> None:
    crowd = plain(40)
    relay, _, shown = make(crowd)
    assert shown.view is not None
    _, far = near_and_far(shown.view)
    assert publish(relay, document(far[0])) == m.REFUSED
    shown.view = networks.view(crowd[:3])
    assert publish(relay, document(far[0])) == m.STORED


def test_a_circuit_asks_a_few_times_and_no_more() -> None:
    relay, role, _ = make()
    circuit = relay.circuit()
    wanted = m.Fetch(name(1).public, START // DAY).encode()
    for _ in range(REQUESTS_MOST):
        assert ask(relay, m.FETCH, wanted, circuit).status == m.NOT_FOUND
    assert relay.send(circuit, m.FETCH, wanted) == []
    assert circuit.ended_for == Reason.RING_TOO_MANY
    assert role.askers == 0


def test_a_joined_circuit_takes_nothing() -> None:
    relay, _, _ = make()
    circuit = relay.circuit()
    circuit.joined = True
    relay.send(circuit, m.PUBLISH, document())
    assert circuit.ended_for == Reason.MESSAGE_ON_JOINED_CIRCUIT


# On disk.

WEEK = WALL + 7 * DAY
"""When a descriptor of an endpoint with an inbox expires."""


def opens(relay: Relay, body: bytes, origin: Origin = "192.0.2.1") -> Circuit:
    """A circuit that brought this descriptor, whether it is answered yet or not."""
    circuit = relay.circuit(origin)
    relay.send(circuit, m.PUBLISH, body)
    return circuit


def answers(circuit: Circuit) -> list[int]:
    return [m.Found.decode_untrusted(body).status for _, body in circuit.got]


def test_what_lives_long_is_on_disk_before_it_is_answered_and_there_after_a_restart(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    relay, role, _ = make(disk=disk)
    relay.committing = False
    circuit = opens(relay, document(1, expiry=WEEK))
    assert (answers(circuit), disk.held, role.kept, role.waiting) == ([], [], 0, 1)
    assert fetch(relay, 1).status == m.NOT_FOUND
    relay.commit()
    assert answers(circuit) == [m.STORED]
    assert (role.kept, role.waiting) == (1, 0)
    assert disk.held == [document(1, expiry=WEEK)]
    again, role, _ = make(disk=disk)
    assert role.kept == 1
    assert fetch(again, 1) == m.Found(m.FOUND_IT, document(1, expiry=WEEK))


@pytest.mark.parametrize("seconds, on_disk", [(MEMORY_SECONDS, False), (MEMORY_SECONDS + 1, True)])
def test_what_expires_within_half_a_day_is_in_memory_only(
    seconds: int, on_disk: bool, tmp_path: Path
) -> None:
    disk = Disk(tmp_path)
    relay, _, _ = make(disk=disk)
    assert publish(relay, document(1, expiry=WALL + seconds)) == m.STORED
    assert disk.commits == len(disk.held) == on_disk
    _, role, _ = make(disk=disk)
    assert role.kept == on_disk


def test_without_a_data_folder_everything_is_in_memory() -> None:
    relay, role, _ = make()
    assert publish(relay, document(1, expiry=WEEK)) == m.STORED
    assert (role.kept, relay.asked) == (1, [])
    with pytest.raises(LookupError):
        _ = role.store


def test_a_disk_that_fails_answers_full_and_nothing_is_kept(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    relay, role, _ = make(disk=disk)
    assert publish(relay, document(1, expiry=WEEK)) == m.STORED
    disk.fails = True
    assert publish(relay, document(2, expiry=WEEK)) == m.FULL
    assert publish(relay, document(1, revision=6, expiry=WEEK)) == m.FULL
    assert relay.drops == [Reason.PUBLISH_FULL] * 2
    assert (role.kept, role.waiting) == (1, 0)
    assert fetch(relay, 1).descriptor == document(1, expiry=WEEK), "the earlier one stays"
    # What need not be written is taken, and what is on disk already too.
    assert publish(relay, document(3, expiry=WALL + 60)) == m.STORED
    assert publish(relay, document(1, expiry=WEEK)) == m.STORED
    disk.fails = False
    assert publish(relay, document(1, revision=6, expiry=WEEK)) == m.STORED
    assert disk.held == [document(1, revision=6, expiry=WEEK)]


def test_a_restart_never_brings_an_earlier_revision_back(tmp_path: Path) -> None:
    """An endpoint that has no inbox any more: its later descriptors are short-lived and still go to disk."""
    disk = Disk(tmp_path)
    relay, _, _ = make(disk=disk)
    publish(relay, document(1, revision=5, expiry=WEEK))
    assert publish(relay, document(1, revision=6, expiry=WALL + 600)) == m.STORED
    assert disk.held == [document(1, revision=6, expiry=WALL + 600)]
    relay, _, _ = make(disk=disk)
    assert publish(relay, document(1, revision=5, expiry=WEEK)) == m.STALE
    assert fetch(relay, 1).descriptor == document(1, revision=6, expiry=WALL + 600)


def test_the_same_bytes_again_are_written_once(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    relay, _, _ = make(disk=disk)
    relay.committing = False
    circuits = [opens(relay, document(1, expiry=WEEK)) for _ in range(3)]
    assert len(relay.asked) == 1
    relay.commit()
    assert [answers(circuit) for circuit in circuits] == [[m.STORED]] * 3
    assert publish(relay, document(1, expiry=WEEK)) == m.STORED
    assert disk.commits == 1


def test_revisions_that_come_while_one_is_written_are_judged_by_that_one(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    relay, role, _ = make(disk=disk)
    publish(relay, document(1, revision=5, expiry=WEEK))
    relay.committing = False
    newer = opens(relay, document(1, revision=7, expiry=WEEK))
    stale = [opens(relay, document(1, revision=number, expiry=WEEK)) for number in (5, 6)]
    stale.append(opens(relay, document(1, revision=7, expiry=WEEK + 1)))
    newest = opens(relay, document(1, revision=8, expiry=WALL + 60))  # an earlier one is on its way to disk
    assert [answers(circuit) for circuit in stale] == [[m.STALE]] * 3
    assert answers(newer) == answers(newest) == []
    assert fetch(relay, 1).descriptor == document(1, revision=5, expiry=WEEK)
    relay.commit()
    assert answers(newer) == answers(newest) == [m.STORED]
    assert fetch(relay, 1).descriptor == disk.held[0] == document(1, revision=8, expiry=WALL + 60)
    assert (role.kept, len(disk.held)) == (1, 1)


def test_a_revision_that_could_not_be_written_leaves_the_next_one_its_chance(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    relay, role, _ = make(disk=disk)
    relay.committing = False
    first = opens(relay, document(1, revision=5, expiry=WEEK))
    second = opens(relay, document(1, revision=6, expiry=WEEK))
    later = relay.asked.pop()
    disk.fails = True
    relay.commit()
    disk.fails = False
    relay.asked.append(later)
    relay.commit()
    assert (answers(first), answers(second)) == ([m.FULL], [m.STORED])
    assert (role.kept, disk.held) == (1, [document(1, revision=6, expiry=WEEK)])


def test_a_circuit_that_ends_meanwhile_hears_nothing_and_what_it_brought_is_kept(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    relay, role, _ = make(disk=disk)
    relay.committing = False
    gone, stays = (opens(relay, document(1, expiry=WEEK)) for _ in range(2))
    relay.end(gone)
    relay.commit()
    assert (answers(gone), answers(stays), role.kept) == ([], [m.STORED], 1)


def test_what_is_displaced_or_expires_is_erased_from_disk_within_a_tick(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    relay, role, shown = make(disk=disk, params=room_for(3))
    for number in (1, 2, 3):
        publish(relay, document(number, expiry=WEEK + number), f"origin{number % 2}")
    assert publish(relay, document(4, expiry=WEEK), "another") == m.STORED
    assert relay.drops == [Reason.PUBLISH_DISPLACED]
    assert (role.kept, len(disk.held)) == (3, 4)
    relay.tick()
    assert disk.held == [document(number, expiry=WEEK + number % 4) for number in (1, 2, 4)]
    shown.view = None
    relay.now, relay.wall = relay.now + 100.0, WEEK + 1
    relay.tick()
    assert disk.held == [document(2, expiry=WEEK + 2)]


def test_an_erasure_that_fails_is_done_later_and_takes_nothing_with_it(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    relay, role, shown = make(disk=disk)
    publish(relay, document(1, expiry=WALL + DAY))
    relay.now, relay.wall, disk.fails = 100.0, WALL + DAY, True
    relay.tick()
    relay.tick()
    assert (role.kept, len(disk.held)) == (0, 1)
    # The same name comes again before its old row is gone.
    disk.fails, relay.committing = False, False
    relay.tick()
    fresh = opens(relay, document(1, revision=6, expiry=WEEK))
    assert len(relay.asked) == 2
    relay.asked.reverse()
    relay.commit()
    relay.tick()
    relay.commit()
    assert answers(fresh) == [m.STORED]
    assert disk.held == [document(1, revision=6, expiry=WEEK)]
    assert shown.view is not None


def test_many_erasures_are_done_one_after_the_other(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    count = 2 * ERASED_AT_ONCE + 1
    disk.store.commit(
        [
            Row(serial, (serial.to_bytes(32, "big"), START // DAY), serial, 0, "", document(1))
            for serial in range(1, count + 1)
        ]
    )
    relay, role, _ = make(disk=disk)
    assert role.kept == count
    relay.wall = WALL + DAY
    relay.tick()
    assert (role.kept, disk.held, disk.commits) == (0, [], 3)


def test_what_expired_meanwhile_is_gone_before_anything_is_served(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    relay, _, _ = make(disk=disk)
    publish(relay, document(1, expiry=WALL + DAY))
    publish(relay, document(2, expiry=WEEK))
    publish(relay, document(3, expiry=WEEK, period=START // DAY - 1))
    relay, role, shown = make(disk=disk)
    relay.wall = WALL + DAY
    shown.view = days(networks.view(plain(3), at=START + DAY // 2 + DAY), -1, 1)
    assert role.kept == 3
    assert fetch(relay, 3, START // DAY - 1).status == m.NOT_FOUND, "its period is known no more"
    assert (fetch(relay, 1).status, fetch(relay, 2).status) == (m.NOT_FOUND, m.FOUND_IT)
    assert role.kept == 1
    relay.tick()
    assert disk.held == [document(2, expiry=WEEK)]


def test_a_row_that_nobody_can_read_is_erased_and_its_number_not_used_again(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    disk.store.commit([Row(7, (bytes(32), START // DAY), 7, 0, "", b"not a descriptor")])
    relay, role, _ = make(disk=disk)
    assert role.kept == 0
    assert publish(relay, document(1, expiry=WEEK)) == m.STORED
    relay.tick()
    assert disk.held == [document(1, expiry=WEEK)]


def test_who_holds_most_and_who_came_first_is_known_after_a_restart(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    relay, _, _ = make(disk=disk, params=room_for(10), salt=b"of the first start")
    publish(relay, document(1, expiry=WEEK), "honest")
    for number in range(100, 108):
        publish(relay, document(number, expiry=WEEK), "flood")
    assert publish(relay, worked(108, EFFORT_LEAST, expiry=WEEK), "flood") == m.STORED
    relay, role, _ = make(disk=disk, params=room_for(10), salt=b"of the second")
    assert role.kept == 10
    for number in (2, 3, 4):
        assert publish(relay, document(number, expiry=WEEK), f"honest{number}") == m.STORED
    relay.tick()
    assert {fetch(relay, number).status for number in (1, 2, 3, 4, 108)} == {m.FOUND_IT}
    # Of the flood those that came last are gone.
    left = [fetch(relay, number).status == m.FOUND_IT for number in range(100, 108)]
    assert left == [True] * 5 + [False] * 3
    assert len(disk.held) == 10
    assert publish(relay, document(200, expiry=WEEK), "flood") == m.STORED, "its label is another now"


def test_a_cap_that_fell_while_the_relay_was_away_is_kept_to(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    relay, _, _ = make(disk=disk)
    for number in range(1, 6):
        publish(relay, document(number, expiry=WEEK), f"origin{number % 2}")
    relay, role, _ = make(disk=disk, params=room_for(2))
    assert publish(relay, document(1, revision=6, expiry=WEEK), "origin1") == m.STORED
    relay.tick()
    assert (role.kept, len(disk.held)) == (2, 2)


def test_the_disk_does_not_tell_over_which_neighbours_descriptors_came(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    relay, _, _ = make(disk=disk, salt=b"secret of this start")
    neighbour = relay_id(2)
    publish(relay, document(1, expiry=WEEK), neighbour)
    publish(relay, document(2, expiry=WEEK), "198.51.100.7")
    publish(relay, document(3, expiry=WEEK), neighbour)
    everything = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert document(1, expiry=WEEK)[:32] in everything
    unsalted = sha3_256(neighbour)[:8].hex().encode()
    for told in (neighbour, neighbour.hex().encode(), b"198.51.100.7", unsalted):
        assert told not in everything
    first, second, third = (row.label for row in disk.store.rows())
    assert first == third != second
