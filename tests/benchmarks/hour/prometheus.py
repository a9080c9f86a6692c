"""A real Prometheus that scrapes all of them meanwhile, and what it says at the end. Debian: prometheus."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.benchmarks.hour.programs import PATIENCE_SECONDS, free_port

AT: Final = "127.0.34.2"
_OVER: Final = "[2h]"
_EACH: Final = "[2h:1m]"
QUESTIONS: Final = {
    "scrapes": f"sum(count_over_time(up{_OVER}))",
    "scrapes that found nobody": f"sum(count_over_time(up{_OVER})) - sum(sum_over_time(up{_OVER}))",
    "the longest scrape, s": f"max(max_over_time(scrape_duration_seconds{_OVER}))",
    "series at once, at most": f"max_over_time(sum(scrape_samples_scraped){_EACH})",
    "starts that a counter shows": f"sum(resets(onionshh_uptime_seconds{_OVER}))",
    "cells a second of all, at most": f"max_over_time(sum(rate(onionshh_cells_sent_total[2m])){_EACH})",
    "the longest lag of an event loop, s": f"max(max_over_time(onionshh_event_loop_lag_seconds{_OVER}))",
    "relays listed, at least": f'min(min_over_time(onionshh_directory_relays{{state="listed"}}{_OVER}))',
}


class Prometheus:
    """Runs for a block where it is installed, and else does nothing."""

    def __init__(self, folder: Path, urls: list[str]) -> None:
        targets = [urllib.parse.urlsplit(url).netloc for url in urls]
        job = {"job_name": "onionshh", "scrape_interval": "15s", "static_configs": [{"targets": targets}]}
        self._file = folder / "prometheus.yml"
        self._file.write_text(json.dumps({"scrape_configs": [job]}))  # JSON is YAML
        self._folder = folder
        self._at = f"{AT}:{free_port(AT)}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if shutil.which("prometheus"):
            with open(self._folder / "prometheus.log", "wb") as log:
                self._process = subprocess.Popen(
                    [
                        "prometheus",
                        f"--config.file={self._file}",
                        f"--storage.tsdb.path={self._folder / 'prometheus'}",
                        f"--web.listen-address={self._at}",
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_SECONDS)

    def answers(self) -> dict[str, str]:
        """What it says to each question: nothing where it is not installed."""
        return {what: self._ask(query) for what, query in QUESTIONS.items()} if self._process else {}

    def _ask(self, query: str) -> str:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        asked = urllib.parse.urlencode({"query": query})
        with opener.open(f"http://{self._at}/api/v1/query?{asked}", timeout=PATIENCE_SECONDS) as answer:
            rows = json.loads(answer.read())["data"]["result"]
        return str(rows[0]["value"][1]) if rows else "no answer"
