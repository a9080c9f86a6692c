"""What a deposit costs: a try of the proof of work in Python and in C, a proof by hours, an inbox and a relay
kept full.

The program in C calls the same function of OpenSSL that Python calls, one try after another, as an attacker
would. Without a compiler or OpenSSL's headers its row says so.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from onionshh import geometry as g
from onionshh.core.base.params import default_params
from onionshh.core.base.work import tries_for
from onionshh.core.mailbox.item import ItemKey, check_put_untrusted, make_put
from onionshh.core.mailbox.price import EFFORT_MOST, ITEMS_MOST, price
from onionshh.core.mailbox.work import Search, holds_untrusted, put_task
from onionshh.rendezvous.mailbox_index import ITEM_BYTES
from onionshh.wire.mailbox import INBOX, PAIR, Mailbox
from tests.benchmarks.measured import Measured, single
from tests.seeded import seeded

RATIO_MOST = 1.25
"""How many times as long a try may take in Python as in C."""
TRIES, ROUNDS, PROOFS = 2000, 5, 12

_HOUR: Final = 3600
_WALL: Final = 1_728_000_000
_HOURS: Final = (1, 3, 24, 72, 168)
_BOX: Final = Mailbox(INBOX, ItemKey(seeded(1)(g.KEY)).public, 20_000)
_KEY: Final = ItemKey(seeded(2)(g.KEY))
_IN_C: Final = """
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int main(int argc, char **argv) {
    unsigned char nonce[16] = {0}, salt[32] = {7}, drawn[4];
    long tries = atol(argv[1]);
    struct timespec from, to;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    for (long n = 0; n < tries; n++) {
        nonce[0] = n; nonce[1] = n >> 8;
        if (!EVP_PBE_scrypt((char *)nonce, 16, salt, 32, 64, 8, 1, 0, drawn, 4)) return 1;
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    printf("%.9f", ((to.tv_sec - from.tv_sec) + (to.tv_nsec - from.tv_nsec) / 1e9) / tries);
}
"""


def measure() -> list[Measured]:
    """Every row of this file; about 15 seconds."""
    in_python = [_python()]
    in_c, why = _c(in_python)
    each = min(in_python)
    rows = [single("one try of the proof of work", "µs", each * 1e6)]
    if in_c is None:
        rows.append(Measured("the same in C", "µs", why=why))
    else:
        rows.append(single("the same in C", "µs", in_c * 1e6))
        rows.append(single("a try in Python, times one in C", "", each / in_c, RATIO_MOST))
    rows += [
        Measured(
            "proof for a letter, on average, by hours",
            "s",
            values={hours: _price(hours) * each for hours in _HOURS},
        ),
        single("proof for a letter of one hour, as it was found", "s", _found()),
        single("check of a proof", "µs", _each(_check_proof) * 1e6),
        single("check of a deposit's signature", "µs", _each(_check_signature) * 1e6),
        single("CPU to keep one inbox full for an hour", "s", _full() * each),
        single("CPU to keep one relay's mailboxes full for an hour", "s", _full_relay() * each),
        single("CPU until a letter of three days is dearer than a node pays", "s", _too_dear() * each),
    ]
    return rows


def _price(hours: int, used: int = 0) -> int:
    expires = _WALL + hours * _HOUR
    return price(INBOX, expires, _WALL, relay_used=0, relay_most=1, mailbox_used=used)


def _full() -> int:
    """Tries for as many items of an hour as an inbox holds. One proof serves all copies."""
    return sum(_price(1, used) for used in range(ITEMS_MOST[INBOX]))


def _full_relay() -> int:
    """Tries for as many items of an hour as a relay has room for, in many pair mailboxes: they cost least.
    One proof counts at all four relays of its mailbox."""
    most = default_params(one_machine=False).mailbox_bytes
    return sum(
        price(PAIR, _WALL + _HOUR, _WALL, relay_used=used, relay_most=most, mailbox_used=0)
        for used in range(0, most - ITEM_BYTES, ITEM_BYTES)
    )


def _too_dear() -> int:
    """Tries until an inbox is so full that a letter of three days costs more than EFFORT_MOST."""
    spent = used = 0
    while _price(72, used) <= EFFORT_MOST:
        spent += _price(1, used)
        used += 1
    return spent


def _python() -> float:
    return _each(lambda number: tries_for(bytes(g.HASH), number.to_bytes(g.PROOF_NONCE)))


def _c(in_python: list[float]) -> tuple[float | None, str]:
    """Seconds for a try in C, measured in turns with Python's, which are appended. Or why there is none."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None, "there is no compiler here"
    with tempfile.TemporaryDirectory(prefix="onionshh-bench-") as folder:
        source, program = Path(folder) / "tries.c", Path(folder) / "tries"
        source.write_text(_IN_C, encoding="utf-8")
        made = subprocess.run(
            [compiler, "-O2", "-o", str(program), str(source), "-lcrypto"], capture_output=True
        )
        if made.returncode:
            return None, "the headers of OpenSSL are not here"
        told = []
        for _ in range(ROUNDS):
            ran = subprocess.run([str(program), str(TRIES)], check=True, capture_output=True, text=True)
            told.append(float(ran.stdout))
            in_python.append(_python())
    return min(told), ""


def _found() -> float:
    """CPU seconds for a proof, the mean of a few."""
    began = time.process_time()
    for number in range(PROOFS):
        task = put_task(bytes(g.HASH), _BOX, _KEY.public, _WALL + number, bytes(g.MAILBOX_VALUE))
        search = Search(task, _price(1), seeded(number))
        while not search.look(100):
            pass
    return (time.process_time() - began) / PROOFS


_PUT: Final = make_put(_KEY, _BOX, expires=_WALL, revision=0, value=bytes(g.MAILBOX_VALUE))


def _check_proof(number: int) -> None:
    task = put_task(bytes(g.HASH), _BOX, _KEY.public, _WALL + number, _PUT.value)
    holds_untrusted(task, number.to_bytes(g.PROOF_NONCE), 96)


def _check_signature(_: int) -> None:
    check_put_untrusted(_PUT)


def _each(work: Callable[[int], object]) -> float:
    """CPU seconds for one call, the least of a few rounds."""
    took = []
    for _ in range(3):
        began = time.process_time()
        for number in range(TRIES):
            work(number)
        took.append((time.process_time() - began) / TRIES)
    return min(took)


if __name__ == "__main__":
    for one in measure():
        print(one.line())
