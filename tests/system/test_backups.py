"""A relay and a host are backed up while they run, and run on elsewhere as the same. What a relay counts for
the month outlives a restart."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from onionshh.net.store import DataDirectory
from onionshh.relay.accounting import ACCOUNTING_FILE
from onionshh.relay.allowance import Kept, month_of
from tests.cli.saving import folders
from tests.system.processes import COMMAND, PATIENCE_SECONDS, Running, running


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def relay(folder: Path, number: int, data: str, *options: object) -> tuple[object, ...]:
    listen = ("--listen", f"127.0.9.{number}:0", "--data", folder / data, "--nickname", f"relay{number}")
    return ("relay", "--network", folder / "net.toml", *listen, *options)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[Running]]]:
    folder = tmp_path_factory.mktemp("backups")
    with ExitStack() as stack:
        data = ("--data", folder / "directory", "--network", folder / "net.toml")
        directory = stack.enter_context(running("directory", "--listen", "127.0.9.100:0", *data))
        directory.until(lambda line: "0 relays listed" in line)
        relays = [
            stack.enter_context(running(*relay(folder, n, f"relay{n}", "--monthly", "5GB")))
            for n in range(1, 5)
        ]
        for one in relays:
            one.until(lambda line: line.endswith(" listed"))
        yield folder, relays


def test_a_host_goes_on_elsewhere_as_the_same(network: tuple[Path, list[Running]]) -> None:
    folder, _ = network
    (folder / "secret").write_text("correct horse battery\n")
    (folder / "secret").chmod(0o600)
    sealed = ("--passphrase-file", folder / "secret")
    host = ("host", "--network", folder / "net.toml", "--echo", "--data")
    with running(*host, folder / "me") as first:
        address = first.until(lambda line: " endpoint shh1" in line).split()[-1]
        first.until(lambda line: " reachable through " in line)
        visit = ("whisper", "--network", folder / "net.toml", "--data", folder / "visitor", address)
        assert command(*visit, "one").stdout == "one"
        done = command("backup", "--data", folder / "me", *sealed, folder / "me.backup")
        assert done.returncode == 0, done.stderr
        assert address in done.stdout
        busy = command("restore", "--data", folder / "me", "--replace", *sealed, folder / "me.backup")
        assert busy.returncode == 1
        assert "in use" in busy.stderr
    done = command("restore", "--data", folder / "moved", *sealed, "--expect", address, folder / "me.backup")
    assert done.returncode == 0, done.stderr
    with running(*host, folder / "moved") as second:
        assert second.until(lambda line: " endpoint shh1" in line).split()[-1] == address
        second.until(lambda line: " reachable through " in line)
        assert command(*visit, "two").stdout == "two"


def test_a_relay_goes_on_elsewhere_as_the_same(network: tuple[Path, list[Running]]) -> None:
    folder, relays = network
    identity = relays[0].until(lambda line: " id " in line).split()[-1]
    done = command("backup", "--data", folder / "relay1", folder / "relay1.tar")
    assert done.returncode == 0, done.stderr
    assert identity in done.stdout
    numbers = after(relays[0])
    assert numbers["monthly"]["used_bytes"] > 0
    relays[0].end()
    done = command("restore", "--data", folder / "moved1", "--expect", identity, folder / "relay1.tar")
    assert done.returncode == 0, done.stderr
    with running(*relay(folder, 1, "moved1", "--monthly", "5GB")) as moved:
        assert moved.until(lambda line: " id " in line).split()[-1] == identity
        moved.until(lambda line: line.endswith(" listed"))


MOUNTED = """set -e
mount -t tmpfs none mnt; mkdir mnt/lost+found
mkdir same; mount --bind same same
for into in mnt same; do
    "$@" restore --data $into made.tar
    test -s $into/relay-keys
    if "$@" restore --data $into made.tar; then exit 9; fi
    "$@" restore --data $into --replace made.tar
    test -s $into/relay-keys; test -s $into/before-*/relay-keys
done
"""


def test_a_restore_into_mount_points(tmp_path: Path) -> None:
    """One of a disk of its own, and one of the same disk, which looks like any folder."""
    tool = shutil.which("unshare")
    if tool is None or subprocess.run([tool, "-rm", "true"], capture_output=True).returncode:
        pytest.skip("no mounts can be made here")
    folders.relay(tmp_path / "r")
    assert command("backup", "--data", tmp_path / "r", tmp_path / "made.tar").returncode == 0
    (tmp_path / "mnt").mkdir()
    done = subprocess.run(
        [tool, "-rm", "sh", "-c", MOUNTED, "sh", *COMMAND],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is not empty; --replace") == 2
    assert "what was there lies in " in done.stdout


def after(process: Running) -> dict[str, dict[str, int]]:
    process.process.send_signal(signal.SIGUSR1)
    return process.statistics()


def test_a_relay_hibernates_over_a_restart_until_it_may_use_more(network: tuple[Path, list[Running]]) -> None:
    folder, _ = network
    start, end = month_of(int(time.time()), 1)
    kept = Kept(start, end, 5 * 10**9, start, wakes=end + 60)
    DataDirectory(folder / "spent").write(ACCOUNTING_FILE, kept.encode())
    with running(*relay(folder, 5, "spent", "--monthly", "5GB")) as spent:
        said = spent.until(lambda line: "it still hibernates, and wakes at " in line)
        assert time.strftime("%Y-%m-01 00:01:00", time.gmtime(end)) in said
        numbers = after(spent)
        assert numbers["monthly"]["hibernating"]
        assert not any(line.endswith(" listed") for line in spent.lines)
    with running(*relay(folder, 5, "spent", "--monthly", "6GB")) as more:
        more.until(lambda line: "it is awake again" in line)
        more.until(lambda line: line.endswith(" listed"))
