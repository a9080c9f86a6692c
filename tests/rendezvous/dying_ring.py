"""Ring relays that are killed: processes that take descriptors, write them, and die at a given moment.

    python -m tests.rendezvous.dying_ring FOLDER

A moment is one of SQLite's statements. For each of them, from the first on, one process is forked. It kills
itself there, as a power cut would: nothing is closed and nothing is told. Its disk is FOLDER/MOMENT, and in
FOLDER/MOMENT/stored are the answers `stored` that it gave before: number of the key and revision, a line
each. The last process comes to its end, and has the line `all` there.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from itertools import count
from pathlib import Path
from typing import Any

from onionshh.wire import messages as m
from tests.rendezvous.test_ring import WEEK, Disk, document, make, opens, room_for

PLACES = 4
PUBLISHED = ((1, 5), (2, 5), (3, 5), (1, 6), (4, 5), (5, 5), (2, 6), (1, 7))
"""(Key, revision), in order, written two at a time. There is no room for the fifth key."""


def main(folder: Path) -> None:
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
    """One life of a ring relay."""
    disk = Disk(folder)
    relay, _, _ = make(disk=disk, params=room_for(PLACES))
    relay.committing = False
    die_at(moment)
    with (folder / "stored").open("w") as said:
        for at in range(0, len(PUBLISHED), 2):
            some = PUBLISHED[at : at + 2]
            circuits = [opens(relay, document(key, revision=number, expiry=WEEK)) for key, number in some]
            asked, relay.asked = relay.asked, []
            disk.commit([row for one in asked for row in one.rows])  # together, as the relay's driver does
            for one in asked:
                relay.carry_out(one.role.remembered(one.token, relay.now, relay.wall))
            for circuit, (key, number) in zip(circuits, some, strict=True):
                if [m.Found.decode_untrusted(body).status for _, body in circuit.got] == [m.STORED]:
                    print(key, number, file=said, flush=True)
            relay.tick()
            relay.commit()
        print("all", file=said)


def die_at(moment: int) -> None:
    """Kill this process at SQLite's statement of that number, counted from now."""
    left = moment
    real = sqlite3.connect

    def statement(text: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = real(*arguments, **options)
        connection.set_trace_callback(statement)
        return connection

    sqlite3.connect = connect  # type: ignore[assignment]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
