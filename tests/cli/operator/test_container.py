"""The Containerfile: what can be checked without a builder, and the image itself where there is one."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

import onionshh.cli

ROOT = Path(__file__).parents[3]
FILE = Path(onionshh.cli.__file__).parent / "operator" / "Containerfile"
BUILD_SECONDS = 1200


def instructions() -> list[tuple[str, str]]:
    """Each instruction and what follows it, long lines joined."""
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [
        (name, rest.strip())
        for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)
    ]


def last_stage() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, rest in instructions():
        if name == "FROM":
            found = {}
        found.setdefault(name, []).append(rest)
    return found


def test_the_bases_are_slim_pinned_and_from_the_public_registry() -> None:
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    assert len(bases) == 2
    for base in bases:
        assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim-[a-z]+", base)


def test_the_image_has_no_compiler_and_no_root() -> None:
    stage = last_stage()
    assert not any("apt-get" in line or "pip" in line for line in stage["RUN"])
    assert stage["USER"] == ["10001:10001"]
    assert stage["STOPSIGNAL"] == ["SIGTERM"]
    assert json.loads(stage["VOLUME"][0]) == ["/data"]
    assert json.loads(stage["ENTRYPOINT"][0]) == ["onionshh"]


def test_what_is_copied_is_there() -> None:
    for name, rest in instructions():
        if name == "COPY" and not rest.startswith("--from"):
            *sources, _ = rest.split()
            assert all((ROOT / source).exists() for source in sources)


def test_the_check_of_the_cipher_looks_at_what_was_installed(tmp_path: Path) -> None:
    """Not at the sources around it, in which the cipher is not compiled."""
    (line,) = [rest for name, rest in instructions() if name == "RUN" and "_uiv" in rest]
    _, *given = shlex.split(line.rpartition("&&")[2])
    (tmp_path / "onionshh").mkdir()
    (tmp_path / "onionshh" / "__init__.py").write_text("raise SystemExit(9)\n")
    command = [sys.executable, *(part.replace("._uiv", "") for part in given)]
    assert subprocess.run(command, cwd=tmp_path, timeout=60, check=False).returncode == 0


class Health(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health" else 500)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Health) as made:
        thread = Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.mark.parametrize("status, well", [(200, True), (404, True), (503, False), (500, False)])
def test_the_check_of_health_believes_what_it_is_told(
    status: int, well: bool, server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Health, "status", status)
    _, *given = json.loads(last_stage()["HEALTHCHECK"][0].partition("CMD ")[2])
    command = [sys.executable, *(part.replace("9100", str(server.server_port)) for part in given)]
    assert (subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0) == well


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(["hadolint", str(FILE)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_can_be_built() -> None:
    builder = next((one for one in ("podman", "buildah", "docker") if _answers(one)), None)
    if builder is None:
        pytest.skip("no podman, buildah or docker answers here")
    base = next(rest.split()[0] for name, rest in instructions() if name == "FROM")
    if subprocess.run([builder, "pull", base], capture_output=True, timeout=300, check=False).returncode:
        pytest.skip("the base image cannot be had here")
    command = [builder, "build", "-t", "onionshh-test", "-f", str(FILE), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    assert done.returncode == 0, done.stderr


def _answers(builder: str) -> bool:
    if shutil.which(builder) is None:
        return False
    done = subprocess.run([builder, "info"], capture_output=True, timeout=60, check=False)
    return done.returncode == 0
