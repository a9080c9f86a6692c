"""A private C tor network on loopback: one authority, relays, one onion service, one client.

Debian's `tor` package and PyPI's `stem`. Every figure is taken as onionshh's are: CPU from the kernel, bytes
from the relays' own counters.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

from stem.control import Controller

from tests.benchmarks.processes import cpu_seconds, memory_kib

CELL_BYTES = 514
PORTS = (12_000, 32_000)
START_SECONDS = 45.0
CONNECT_SECONDS = 10.0
TRIES = 4

_COMMON = """
TestingTorNetwork 1
DataDirectory {folder}
Log notice file {folder}/log
ShutdownWaitLength 0
ControlPort 127.0.0.1:{control}
CookieAuthentication 0
__OwningControllerProcess {owner}
DirAuthority {authority}
"""
_RELAY = """
Nickname {name}
Address 127.0.0.1
ORPort 127.0.0.1:{port} IPv4Only
SocksPort 0
AssumeReachable 1
ExitRelay 1
ExitPolicy accept 127.0.0.0/8:*
ExitPolicyRejectPrivate 0
ContactInfo none
"""
_AUTHORITY = """
DirPort 127.0.0.1:{port}
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
V3AuthVotingInterval 10
V3AuthVoteDelay 2
V3AuthDistDelay 2
V3AuthNIntervalsValid 100
TestingV3AuthInitialVotingInterval 5
TestingV3AuthInitialVoteDelay 2
TestingV3AuthInitialDistDelay 2
TestingDirAuthVoteExit *
TestingDirAuthVoteHSDir *
TestingDirAuthVoteGuard *
TestingMinExitFlagThreshold 0
"""


def available() -> str | None:
    """None when C tor can be measured, else how to get it."""
    if shutil.which("tor") is None or shutil.which("tor-gencert") is None:
        return "C tor is not installed: on Debian, apt-get install tor. Only onionshh is measured."
    return None


def version() -> str:
    """What `tor --version` says."""
    out = subprocess.run(["tor", "--version"], capture_output=True, text=True, check=True).stdout
    return out.splitlines()[0].removeprefix("Tor version ").rstrip(".")


class TorNetwork:
    """The authority is a relay like the others; `relays` names them all."""

    def __init__(self, folder: Path, relays: int) -> None:
        self._folder = folder
        self._ports = iter(_free_ports(4 * (relays + 4)))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._control: dict[str, int] = {}
        self._controllers: dict[str, Controller] = {}
        self.relays = ["authority", *(f"r{number}" for number in range(1, relays))]
        self.socks_port = next(self._ports)
        self.service_port = next(self._ports)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        dir_port, or_port = next(self._ports), next(self._ports)
        keys = self._folder_of("authority") / "keys"
        keys.mkdir(mode=0o700)
        subprocess.run(
            f"tor-gencert --create-identity-key -m 12 -a 127.0.0.1:{dir_port} --passphrase-fd 0".split(),
            cwd=keys,
            input=b"private\n",
            check=True,
            capture_output=True,
        )
        certificate = (keys / "authority_certificate").read_text()
        found = re.search(r"^fingerprint (\S+)", certificate, re.MULTILINE)
        if found is None:
            raise RuntimeError("tor-gencert wrote no fingerprint")
        line = f"auth orport={or_port} no-v2 v3ident={found.group(1)} 127.0.0.1:{dir_port} "
        extra = _AUTHORITY.format(port=dir_port)
        self._configure("authority", line + "F" * 40, self._relay_text("authority", or_port) + extra)
        listing = subprocess.run(
            ["tor", "-f", str(self._folder_of("authority") / "torrc"), "--list-fingerprint", "--hush"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        fingerprint = re.findall(r"((?:[0-9A-F]{4} ?){10})", listing)[-1].replace(" ", "").strip()
        line += fingerprint
        self._configure("authority", line, self._relay_text("authority", or_port) + extra)
        for name in self.relays[1:]:
            self._configure(name, line, self._relay_text(name, next(self._ports)))
        self._configure("client", line, f"SocksPort 127.0.0.1:{self.socks_port}\n")
        hidden = self._folder_of("service") / "hs"
        service = (
            f"SocksPort 0\nHiddenServiceDir {hidden}\nHiddenServicePort 80 127.0.0.1:{self.service_port}\n"
        )
        self._configure("service", line, service)
        for name in self.relays:
            self._run(name)
        self._wait_listed()
        for name in ("service", "client"):
            self._run(name)
        self._wait_bootstrapped("client", "service")
        self.onion = (hidden / "hostname").read_text().strip()

    def _run(self, name: str) -> None:
        self._processes[name] = subprocess.Popen(
            ["tor", "-f", str(self._folder_of(name) / "torrc")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _wait_listed(self) -> None:
        """Until the consensus lists every relay: a client that came earlier would stay with a shorter one."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            self._check_running()
            with contextlib.suppress(FileNotFoundError):
                consensus = (self._folder_of("authority") / "cached-microdesc-consensus").read_text()
                if set(re.findall(r"^r (\S+)", consensus, re.MULTILINE)).issuperset(self.relays):
                    return
            time.sleep(0.5)
        raise RuntimeError("the C tor network's consensus does not list its relays")

    def _check_running(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise RuntimeError(f"C tor's {name} has ended; see {self._folder / name}")

    def _relay_text(self, name: str, port: int) -> str:
        return _RELAY.format(name=name, port=port)

    def _folder_of(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _configure(self, name: str, authority: str, text: str) -> None:
        folder = self._folder_of(name)
        control = self._control.setdefault(name, next(self._ports))
        common = _COMMON.format(folder=folder, control=control, owner=os.getpid(), authority=authority)
        (folder / "torrc").write_text(common + text)

    def _wait_bootstrapped(self, *names: str) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            logs = [self._folder / name / "log" for name in names]
            if all(log.exists() and "Bootstrapped 100%" in log.read_text() for log in logs):
                return
            self._check_running()
            time.sleep(0.5)
        raise RuntimeError(f"the C tor network did not start; see {self._folder}")

    def connect(self, isolation: str) -> socket.socket:
        """A stream to the onion service over circuits of its own; one that hangs is tried anew. OSError."""
        for attempt in range(TRIES - 1):
            try:
                return self._connect(f"{isolation}.{attempt}")
            except OSError:
                continue
        return self._connect(f"{isolation}.last")

    def _connect(self, isolation: str) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.socks_port), timeout=CONNECT_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        user = isolation.encode()
        host = self.onion.encode()
        for message, size in (
            (b"\x05\x01\x02", 2),
            (b"\x01" + bytes([len(user)]) + user + b"\x01p", 2),
            (b"\x05\x01\x00\x03" + bytes([len(host)]) + host + (80).to_bytes(2, "big"), 10),
        ):
            sock.sendall(message)
            answer = sock.recv(size)
            if len(answer) < 2 or answer[1] not in (0, 2):
                sock.close()
                raise OSError(f"the SOCKS proxy answered {answer!r}")
        return sock

    def controller(self, name: str) -> Controller:
        """The control connection of one process."""
        held = self._controllers.get(name)
        if held is None:
            held = self._controllers[name] = Controller.from_port(port=self._control[name])
            held.authenticate()
        return held

    def control_port(self, name: str) -> int:
        """The control port of one process."""
        return self._control[name]

    def end(self, name: str) -> None:
        """End one process, as a crash would."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def run_again(self, name: str) -> None:
        """Start a process that has ended."""
        self._run(name)

    def relay_cpu_seconds(self) -> float:
        """CPU of all relays so far."""
        return sum(cpu_seconds(self._processes[name].pid) for name in self.relays)

    def relay_cells_sent(self) -> float:
        """Cells the relays sent so far: bytes they wrote, TLS included, in cells of 514. That counts a few
        per cent too many, in C tor's favour."""
        written = sum(int(self.controller(name).get_info("traffic/written")) for name in self.relays)
        return written / CELL_BYTES

    def memory_kib(self) -> dict[str, int]:
        """Resident memory of a relay (median), the service and the client."""
        relays = sorted(memory_kib(self._processes[name].pid) for name in self.relays[1:])
        return {
            "relay": relays[len(relays) // 2],
            "endpoint": memory_kib(self._processes["service"].pid),
            "visitor": memory_kib(self._processes["client"].pid),
        }

    def stop(self) -> None:
        """End every process that was started here."""
        for controller in self._controllers.values():
            controller.close()
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_ports(count: int) -> list[int]:
    """Ports that nobody holds, and that no outgoing connection is given before C tor binds them."""
    found: list[int] = []
    for port in random.sample(range(*PORTS), len(range(*PORTS))):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"too few of the ports {PORTS[0]} to {PORTS[1]} are free")
