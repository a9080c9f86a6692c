"""Shell scripts are few, and shellcheck finds nothing in them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = [".ci/run"]


def test_no_script_is_left_out() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in (".ci", "onionshh", "relay", "rendezvous", "directory", "simulations", "tests")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in ("", ".sh") and path.read_bytes()[:2] == b"#!"
    }
    assert found == set(SCRIPTS)


@pytest.mark.skipif(
    shutil.which("shellcheck") is None, reason="shellcheck is not installed (Debian: shellcheck)"
)
@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_finds_nothing(script: str) -> None:
    command = ["shellcheck", str(ROOT / script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")
