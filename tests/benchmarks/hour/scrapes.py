"""Every program's numbers, read again and again: how long it takes, and whether anything in them is wrong.

What is looked for: a counter that falls while its program runs, a label that tells more than a name from the
source, an address or an id in the text, and a scrape that fails though its program runs.
"""

from __future__ import annotations

import math
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from tests.benchmarks.hour.lines import secrets_in
from tests.benchmarks.hour.programs import Program, World

EACH_SECONDS: Final = 5.0
LATE_SECONDS: Final = 10.0
GONE_SECONDS: Final = 0.2
"""Whoever was just killed has closed its port a moment before it has ended."""
STARTING_SECONDS: Final = 15.0
"""A program that starts on a busy machine has no port yet."""
LABELS: Final = frozenset({"kind", "version", "cipher", "reason", "state", "answer", "status", "step"})


class Scrapes:
    """Reads all programs in turn until it is told to stop. `late` tells of one that was asked for long."""

    def __init__(self, world: World) -> None:
        self.seconds: list[float] = []
        self.bytes: list[int] = []
        self.wrong: Counter[str] = Counter()
        self.down = 0
        self._world = world
        self._counted: dict[str, tuple[float, dict[str, float]]] = {}
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No more of them."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(EACH_SECONDS):
            for program in self._world.served:
                self._scrape(program)

    def _scrape(self, program: Program) -> None:
        began, before = time.monotonic(), program.started_at
        try:
            with self._opener.open(program.metrics, timeout=LATE_SECONDS) as answer:
                text = answer.read().decode()
        except (urllib.error.URLError, OSError) as error:
            started = program.started_at
            time.sleep(GONE_SECONDS)
            there = program.runs and not program.leaving
            if there and started == before and began - started > STARTING_SECONDS:
                self.wrong[f"{program.name}: {error}"] += 1
            else:
                self.down += 1
            return
        self.seconds.append(time.monotonic() - began)
        self.bytes.append(len(text))
        if program.started_at == before:
            self._check(program, before, text)

    def _check(self, program: Program, started_at: float, text: str) -> None:
        for found in secrets_in(text):
            self.wrong[f"{program.name} exposes {found}"] += 1
        counted: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if not set(sample.labels) <= LABELS:
                    self.wrong[f"{program.name}: labels {sorted(sample.labels)}"] += 1
                if not math.isfinite(sample.value) or sample.value < 0:
                    self.wrong[f"{program.name}: {sample.name} is {sample.value}"] += 1
                if family.type == "counter":
                    counted[f"{sample.name}{sorted(sample.labels.items())}"] = sample.value
        of, before = self._counted.get(program.name, (0.0, {}))
        if of == started_at:
            for name, value in before.items():
                if counted.get(name, 0.0) < value:
                    self.wrong[f"{program.name}: {name} fell"] += 1
        self._counted[program.name] = started_at, counted
