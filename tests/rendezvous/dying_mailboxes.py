"""Relays with mailboxes that are killed: processes that take items, write them, and die at a given moment.

    python -m tests.rendezvous.dying_mailboxes FOLDER

As in `dying_ring`, a moment is one of SQLite's statements, and for each of them one process is forked that
kills itself there. FOLDER/MOMENT/said has what it answered before, a line each: `stored N`, `recalled N`,
`longer N`. The last process comes to its end, and has the line `all` there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

from onionshh.core.mailbox.item import check_item_untrusted
from onionshh.rendezvous.mailbox_store import ItemsInMemory
from onionshh.wire import mailbox as w
from tests.rendezvous.dying_ring import die_at
from tests.rendezvous.mailbox_world import BOARD, HOUR, WALL, Disk, House, key, mark, value

SAID = "said"
LONGER = 2 * HOUR
NUMBERS = range(1, 7)


def main(folder: Path) -> None:
    script(House(ItemsInMemory()), lambda line: None)  # so that proofs of work are found once
    for moment in count(1):
        own = folder / str(moment)
        own.mkdir()
        child = os.fork()
        if child == 0:
            run(own, moment)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.exit(os.waitstatus_to_exitcode(status))


def run(folder: Path, moment: int) -> None:
    """One life of a relay."""
    with (folder / SAID).open("w") as said:
        house = House(Disk(folder))
        die_at(moment)
        script(house, lambda line: print(line, file=said, flush=True))
        print("all", file=said)


def script(house: House, say: Callable[[str], None]) -> None:
    """What is asked of a relay, two at a time, and what it answered."""
    _together(house, say, stored=(1, 2))
    _together(house, say, stored=(3,), recalled=(1,))
    _together(house, say, stored=(4,), longer=(2,))
    house.lists(BOARD, mode=w.VALUES)
    _together(house, say, stored=(5, 6), recalled=(4,))
    house.pass_time(1)


def fate(folder: Path) -> None:
    """Start a relay on this disk again: what it must show after what it had said."""
    said = [line for line in (folder / SAID).read_text().splitlines() if line != "all"]
    (folder / SAID).unlink()
    disk = Disk(folder)
    house = House(disk)
    words = [line.split() for line in said]
    stored, recalled, longer = (
        {int(number) for what, number in words if what == wanted}
        for wanted in ("stored", "recalled", "longer")
    )
    shown: dict[int, w.Item] = {}
    after = 0
    while (found := house.lists(BOARD, mode=w.VALUES, after=after)).items:
        after = found.next
        for item in found.items:
            (number,) = (number for number in NUMBERS if key(number).public == item.item_id)
            assert item.value == value(number)
            check_item_untrusted(BOARD, item)
            shown[number] = item
    under_way = {1, 4} - recalled  # a recall that was not answered may have been done
    assert stored - recalled - under_way <= set(shown), said
    assert not recalled & set(shown), said
    for number in longer:
        assert shown[number].expires == WALL + LONGER
    for number in recalled:
        assert house.leaves(house.put(number, BOARD)) == w.Kept(w.STALE)
    data = disk.bytes
    assert not any(mark(number) in data for number in recalled), said
    house.role.ended()


def _together(
    house: House,
    say: Callable[[str], None],
    *,
    stored: Sequence[int] = (),
    recalled: Sequence[int] = (),
    longer: Sequence[int] = (),
) -> None:
    puts = [(f"stored {number}", house.put(number, BOARD)) for number in stored]
    puts += [(f"recalled {number}", house.put(number, BOARD, revision=1, empty=True)) for number in recalled]
    puts += [(f"longer {number}", house.put(number, BOARD, seconds=LONGER, revision=1)) for number in longer]
    relay = house.relay
    relay.committing = False
    circuits = [relay.circuit() for _ in puts]
    for circuit, (_, put) in zip(circuits, puts, strict=True):
        house.leaves(put, circuit)
    asked, relay.asked = relay.asked, []
    house.role.store.commit(
        [row for one in asked for row in one.rows]
    )  # together, as the relay's driver does
    for one in asked:
        relay.carry_out(one.role.remembered(one.token, relay.now, relay.wall))
    for circuit, (line, _) in zip(circuits, puts, strict=True):
        if [w.Kept.decode_untrusted(body).status for _, body in circuit.got] == [w.STORED]:
            say(line)
    relay.committing = True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
