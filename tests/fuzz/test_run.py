"""`make fuzz` where atheris is not: what breaks the rule is found, made small, written down and repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import run
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS


def _broken(data: bytes) -> None:
    if len(data) > 3 and data[0] == 0xFF:
        raise IndexError("out of range")


BROKEN = Target("broken", _broken, (b"\0\0\0\0\0\0",))


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(TARGETS, "broken", BROKEN)


def test_what_is_found_is_small_and_can_be_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(None, ["--door", "broken", "--seconds", "60"]) == 1
    (path,) = Path(".fuzz/found/broken").iterdir()
    assert path.read_bytes() in (b"\xff\0\0\0", b"\xff\0\0\0\0\0")
    told = capsys.readouterr().out
    assert "broken raised IndexError: out of range" in told
    assert f"python -m tests.fuzz --repeat '{path}'" in told
    assert run.main(None, ["--repeat", str(path)]) == 1
    assert "IndexError" in capsys.readouterr().err
    path.write_bytes(b"\0")
    assert run.main(None, ["--repeat", str(path)]) == 0


def test_a_door_that_holds_and_one_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(None, ["--door", "status_untrusted", "--seconds", "0.1"]) == 0
    assert "no doors break the rule" in capsys.readouterr().out
    assert not Path(".fuzz").exists()
    with pytest.raises(SystemExit):
        run.main(None, ["--door", "no such door"])
    assert "wire.messages.status_untrusted" in capsys.readouterr().err
