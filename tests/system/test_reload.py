"""Real programs that read their files again at SIGHUP, and end when their terminals close."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from pathlib import Path

from tests.system.processes import COMMAND, PATIENCE_SECONDS, Running, running, until

HOST = "127.0.8.70"


def reload(process: Running) -> str:
    """What it says to SIGHUP."""
    before = len(process.errors)
    process.process.send_signal(signal.SIGHUP)
    return process.until(lambda line: "changed" in line, after=before, of=process.errors)


def test_a_directory_a_relay_and_a_host_take_up_what_can_change(tmp_path: Path) -> None:
    """All from one file, whose paths are its own. The relay stays listed, and the host reachable."""
    file = tmp_path / "made.toml"
    text = f"""
        [directory]
        listen = "{HOST}:0"
        data = "dir"
        network = "net.toml"
        param = ["cookies=100"]
        [relay]
        listen = "{HOST}:0"
        network = "net.toml"
        nickname = "first"
        [host]
        network = "net.toml"
        data = "host"
        exec = "tr a-z A-Z"
        [whisper]
        network = "net.toml"
        data = "visitor"
        hops = 0
        """
    file.write_text(text)
    with running("directory", "--config", file) as directory:
        directory.until(lambda line: "a consensus every 5 s" in line)
        relays = [Running("relay", "--config", file, "--data", tmp_path / f"r{one}") for one in range(4)]
        try:
            for relay in relays:
                relay.until(lambda line: line.endswith(" listed"))
            with running("host", "--config", file) as host:
                address = host.until(lambda line: "shh1" in line).split()[-1]
                host.until(lambda line: "reachable" in line)
                assert whispered(file, address) == "HELLO"

                file.write_text(
                    text.replace("first", "second")
                    .replace("tr a-z A-Z", "tr a-z n-za-m")
                    .replace("cookies=100", "cookies=200")
                    .replace('data = "host"', 'data = "elsewhere"')
                )
                assert reload(relays[0]).endswith("changed: nickname.")
                assert reload(directory).endswith("changed: param.")
                assert reload(host).endswith("changed: exec.")
                host.until(lambda line: line == "onionshh: data needs a restart.", of=host.errors)
                until(lambda: "second" in listed(file))
                assert whispered(file, address) == "uryyb"

                without = file.read_text().replace("exec =", "# exec =")
                file.write_text(without)
                assert reload(host).endswith("changed: exec.")
                assert "delivered" in whispered(file, address, "--wait", "0")
                host.until(lambda line: line == "  | hello")
                file.write_text(without.replace("# exec =", 'echo = true\nreceive = "files"\n#'))
                assert reload(host).endswith("changed: echo, receive.")
                assert whispered(file, address) == "hello"
                visitor = ("--network", tmp_path / "net.toml", "--data", tmp_path / "visitor")
                sent = run("send", *visitor, address, file)
                assert sent.returncode == 0, sent.stderr
                made = tmp_path / "files"
                until(lambda: [one.read_bytes() for one in made.iterdir()] == [file.read_bytes()])

                file.write_text(text.replace("[relay]", "[relay]\ntypo = 1"))
                assert "typo in [relay] is no option" in reload(relays[0])
            for relay in relays:
                relay.end()
        finally:
            for relay in relays:
                relay.destroy()


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_SECONDS)


def whispered(file: Path, address: str, *options: str) -> str:
    done = run("whisper", "--config", file, *options, address, "hello")
    assert done.returncode == 0, done.stderr
    return (done.stdout.strip().removeprefix("> ").splitlines() or [done.stderr])[-1].strip()


def listed(file: Path) -> str:
    return run("relays", "--json", "--network", file.parent / "net.toml").stdout


def test_a_closed_terminal_ends_a_program_that_has_a_file(tmp_path: Path) -> None:
    """While the terminal is there, SIGHUP reloads."""
    file = tmp_path / "made.toml"
    file.write_text(f'[directory]\nlisten = "{HOST}:0"\ndata = "dir"\nnetwork = "net.toml"\n')
    said = tmp_path / "said"
    pid, screen = pty.fork()
    if pid == 0:
        out = os.open(said, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.execv(COMMAND[0], [*COMMAND, "directory", "--config", str(file)])
    try:
        until(lambda: said.exists() and b"a consensus every" in said.read_bytes())
        os.kill(pid, signal.SIGHUP)
        until(lambda: b"was read again" in said.read_bytes())
        os.close(screen)
        assert ended(pid) == 0
    finally:
        if ended(pid, 0.0) is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert said.read_bytes().count(b"was read again") == 1
    assert b"ending, since its terminal was closed." in said.read_bytes()


_ended: dict[int, int] = {}


def ended(pid: int, seconds: float = PATIENCE_SECONDS) -> int | None:
    """The exit status of a child, None if it still runs after so long."""
    end = time.monotonic() + seconds
    while pid not in _ended:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            _ended[pid] = os.waitstatus_to_exitcode(status)
        elif time.monotonic() >= end:
            return None
        else:
            time.sleep(0.02)
    return _ended[pid]
