"""A real Prometheus reads what real programs expose, and answers queries about it.

Debian's package `prometheus` has both `prometheus` and `promtool`.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cli.metrics.test_dashboard import queries
from tests.system.processes import PATIENCE_SECONDS, Running, running, until

pytestmark = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="prometheus and promtool are not installed (Debian: prometheus)",
)

KINDS = ("relay", "directory", "host")
LOOPBACK = "127.0.0.1"


class Programs:
    """A relay, a directory and a host, each with --metrics."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        file = folder / "net.toml"
        common = ("--network", file, "--metrics", "0")
        self.running: dict[str, Running] = {}

        def start(kind: str, *options: object) -> Running:
            data = ("--data", folder / kind)
            program = stack.enter_context(running(kind, *common, *data, *options))
            self.running[kind] = program
            return program

        start("directory", "--listen", "127.0.9.100:0").until(lambda line: "0 relays listed" in line)
        start("relay", "--listen", "127.0.9.1:0").until(lambda line: line.endswith(" listed"))
        start("host", "--echo")
        self.urls = {kind: self._url(program) for kind, program in self.running.items()}

    def _url(self, program: Running) -> str:
        line = program.until(lambda line: "numbers for Prometheus are at" in line, of=program.errors)
        return line.split()[-1]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    with ExitStack() as stack:
        yield Programs(tmp_path_factory.mktemp("programs"), stack)


@pytest.fixture(scope="module")
def prometheus(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that scrapes them."""
    folder = tmp_path_factory.mktemp("prometheus")
    targets = [urllib.parse.urlsplit(url).netloc for url in programs.urls.values()]
    jobs = {"job_name": "onionshh", "scrape_interval": "1s", "static_configs": [{"targets": targets}]}
    (folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": [jobs]}))  # JSON is YAML
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port = free.getsockname()[1]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={LOOPBACK}:{port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield f"http://{LOOPBACK}:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def get(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=PATIENCE_SECONDS) as answer:
        data: bytes = answer.read()
        return data


def ask(prometheus: str, query: str) -> list[dict[str, Any]]:
    """What Prometheus answers to a query now: nothing while it starts."""
    try:
        answer = json.loads(get(f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}"))
    except (urllib.error.URLError, ConnectionError):
        return []
    assert answer["status"] == "success", answer
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_promtool_finds_nothing_to_blame(programs: Programs, kind: str) -> None:
    text = get(programs.urls[kind])
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=text,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert b"# TYPE onionshh_build_info gauge" in text


def test_a_prometheus_scrapes_each_and_knows_what_it_is(programs: Programs, prometheus: str) -> None:
    until(lambda: len(ask(prometheus, "onionshh_build_info")) == len(KINDS))
    assert {row["metric"]["kind"] for row in ask(prometheus, "onionshh_build_info")} == set(KINDS)
    assert {row["value"][1] for row in ask(prometheus, 'up{job="onionshh"}')} == {"1"}
    until(lambda: ask(prometheus, "onionshh_memory_quota_bytes"))
    (quota,) = ask(prometheus, "onionshh_memory_quota_bytes")
    assert int(quota["value"][1]) == 256 * 1024 * 1024
    until(lambda: len(ask(prometheus, "onionshh_links")) == 3)
    assert {row["metric"]["kind"] for row in ask(prometheus, "onionshh_links")} == {
        "relay",
        "client",
        "opening",
    }


def test_the_next_moment_tells_that_the_relay_is_listed(programs: Programs, prometheus: str) -> None:
    until(lambda: [row["value"][1] for row in ask(prometheus, "min(onionshh_healthy)")] == ["1"])
    (listed,) = ask(prometheus, 'onionshh_directory_relays{state="listed"}')
    assert listed["value"][1] == "1"


def test_it_understands_every_query_of_the_dashboard(programs: Programs, prometheus: str) -> None:
    until(lambda: len(ask(prometheus, "onionshh_build_info")) == len(KINDS))
    for query in queries():
        if not query.startswith("label_values("):
            ask(prometheus, query.replace("$instance", ".*"))
    labels = {
        name
        for row in ask(prometheus, '{__name__=~"onionshh_.*"}')
        for name in row["metric"]
        if name not in ("__name__", "instance", "job")
    }
    assert labels <= {"kind", "version", "cipher", "reason", "state", "answer", "status", "step"}


def test_health_is_asked_where_it_should_be(programs: Programs) -> None:
    assert get(programs.urls["relay"].replace("/metrics", "/health")) == b"ok\n"
    line = programs.running["directory"].until(lambda line: " at http://" in line)
    (url,) = re.findall(r"http://[0-9.:]+", line)
    assert get(f"{url}/health") == b"ok\n"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(programs.urls["host"].replace("/metrics", "/health"))


def test_a_relay_that_is_not_listed_yet_says_so(programs: Programs, tmp_path: Path) -> None:
    """Its health is answered from the start, also while there is no directory."""
    file = tmp_path / "net.toml"
    known = programs.running["relay"].arguments
    text = Path(known[known.index("--network") + 1]).read_text()
    file.write_text(text.replace("127.0.9.100", "127.0.9.101"))
    options = ("--network", file, "--data", tmp_path / "relay", "--listen", "127.0.9.2:0", "--metrics", "0")
    with running("relay", *options) as relay:
        line = relay.until(lambda line: "numbers for Prometheus are at" in line, of=relay.errors)
        with pytest.raises(urllib.error.HTTPError, match="503") as refused:
            until(lambda: get(line.split()[-1].replace("/metrics", "/health")))
        assert refused.value.read() == b"This relay has no consensus yet.\n"
