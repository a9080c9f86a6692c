"""Many more inputs for every door than the tests draw.

With atheris, inputs follow what they reach: each target runs in a process of its own, driven by libFuzzer,
and what reached something new is kept in .fuzz/corpus for the next run. Without it Hypothesis draws as in
the tests, each time under another seed. An input that breaks the rule is written to .fuzz/found, and told
with the command that repeats it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

import hypothesis

from tests.fuzz.drawing import inputs
from tests.fuzz.target import Target, check
from tests.fuzz.targets import TARGETS

CORPUS, FOUND = Path(".fuzz/corpus"), Path(".fuzz/found")
ENDLESS_SECONDS = 20
"""After which libFuzzer takes an input for one that never ends."""
MEMORY_MB = 2048
AT_ONCE = 100
"""Inputs that Hypothesis draws between two looks at the clock."""
_INPUTS = re.compile(rb"stat::number_of_executed_units:\s*(\d+)")
_FAULT = re.compile(rb"^Fault: (.*)$", re.MULTILINE)

Outcome = tuple[int, str]
"""How many inputs were run, and what broke the rule, for people; empty if nothing did."""


def main(atheris: Any, arguments: list[str] | None = None) -> int:
    """Fuzz as the command line says, with atheris if there is one; 0 if every door holds."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Hostile inputs for every door."
    )
    parser.add_argument(
        "--seconds", type=float, default=60, help="for all doors together (60), each at least 1"
    )
    parser.add_argument("--door", default="", metavar="TEXT", help="only those that have this in their names")
    parser.add_argument(
        "--repeat", type=Path, metavar="FILE", help="run the one input in this file of .fuzz/found"
    )
    given = parser.parse_args(arguments)
    if given.repeat:
        return repeat(given.repeat)
    targets = [target for name, target in TARGETS.items() if given.door in name]
    if not targets:
        parser.error(f"no door has {given.door!r} in its name; there are\n  " + "\n  ".join(TARGETS))
    share = max(1.0, given.seconds / len(targets))
    how = "drawn by Hypothesis, since atheris is not installed" if atheris is None else "guided by coverage"
    print(f"{len(targets)} doors, {share:.1f} s for each, inputs {how}", flush=True)
    total, broken = 0, 0
    for target in targets:
        count, fault = drawn(target, share) if atheris is None else guided(atheris, target, share)
        total += count
        if fault:
            broken += 1
            print(f"\n{fault}", flush=True)
    print(f"{total} inputs; {broken or 'no'} {'door breaks' if broken == 1 else 'doors break'} the rule")
    return 1 if broken else 0


def repeat(path: Path) -> int:
    """Run one input again: 0 if the rule holds. Its folder has the target's name."""
    try:
        check(TARGETS[path.parent.name], path.read_bytes())
    except Exception:
        traceback.print_exc()
        return 1
    print("the rule holds for this input")
    return 0


def _told(why: str, *paths: Path) -> str:
    lines = [f"  .venv/bin/python -m tests.fuzz --repeat '{path}'" for path in paths]
    return "\n".join([why, "to repeat it:", *lines])


def _written(target: Target, error: Exception, data: bytes) -> str:
    path = FOUND / target.name / f"input-{hashlib.sha256(data).hexdigest()[:40]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return _told(str(error), path)


def drawn(target: Target, seconds: float) -> Outcome:
    """By Hypothesis, which also makes what it found as small as it can."""
    until = time.monotonic() + seconds
    seed = int.from_bytes(os.urandom(4), "big")
    count, last = 0, b""

    @hypothesis.settings(
        max_examples=AT_ONCE,
        derandomize=False,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(inputs(target.seeds))
    def holds(data: bytes) -> None:
        nonlocal count, last
        count, last = count + 1, data
        check(target, data)

    while time.monotonic() < until:
        seed += 1
        try:
            hypothesis.seed(seed)(holds)()
        except Exception as error:  # the last one run is the smallest
            return count, _written(target, error, last)
    return count, ""


def guided(atheris: Any, target: Target, seconds: float) -> Outcome:
    """By libFuzzer, in a child, since it never comes back."""
    for data in (b"", *target.seeds):  # with which libFuzzer begins: it does not write these down
        try:
            check(target, data)
        except Exception as error:
            return 1, _written(target, error, data)
    corpus, found = CORPUS / target.name, FOUND / target.name
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds:
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    began = time.time() - 1
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            _fuzz(atheris, target, corpus, f"{found}/", round(seconds), said.fileno())
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        text = said.read()
    executed = _INPUTS.search(text)
    count = int(executed.group(1)) if executed else 0
    if status == 0:
        return count, ""
    fault = _FAULT.search(text)
    why = fault.group(1) if fault else target.name.encode() + b" ended the process:\n" + text[-2000:]
    written = [path for path in found.iterdir() if path.stat().st_mtime >= began]
    return count, _told(why.decode(errors="replace"), *written)


def _fuzz(atheris: Any, target: Target, corpus: Path, found: str, seconds: int, said: int) -> NoReturn:
    """The child: all it says goes into that file, and it ends with libFuzzer's status."""
    try:
        os.dup2(said, 1)
        os.dup2(said, 2)
        options = [
            f"-max_total_time={seconds}",
            f"-timeout={ENDLESS_SECONDS}",
            f"-rss_limit_mb={MEMORY_MB}",
            f"-artifact_prefix={found}",
            "-print_final_stats=1",
            "-len_control=0",
        ]
        atheris.Setup(["fuzz", *options, str(corpus)], lambda data: check(target, data))
        atheris.Fuzz()
    finally:
        os._exit(1)  # never back into the parent's code
