"""Whispers and replies of strangers on terminals that know few letters: shown, not obeyed, ending nobody."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest
import trio

from onionshh import Identity, testing
from tests.system.processes import COMMAND, PATIENCE_SECONDS

NASTY = "Grüße 🤫\n\x1b[2J\x9b2J\u202e\u200b\u2028end"
LOCALES = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1:strict"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "UTF-8": {"PYTHONUTF8": "1"},
}


def environment(locale: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    path = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    return ours | path | LOCALES[locale]


def whisper_on_a_terminal(locale: str, *arguments: object) -> tuple[int, bytes, bytes]:
    """Status, what the terminal was given, stderr."""
    terminal, ours = os.openpty()
    given = bytearray()

    def read() -> None:
        while True:
            try:
                part = os.read(terminal, 4096)
            except OSError:  # the other side is closed
                return
            given.extend(part)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        done = subprocess.run(
            [*COMMAND, "whisper", *map(str, arguments)],
            stdout=ours,
            stderr=subprocess.PIPE,
            env=environment(locale),
            timeout=PATIENCE_SECONDS,
        )
    finally:
        os.close(ours)
        thread.join()
        os.close(terminal)
    return done.returncode, bytes(given), done.stderr


def unharmed(text: bytes, locale: str) -> None:
    """Nothing of NASTY is obeyed, and all of it is there in one form or the other."""
    for obeyed in (b"\x1b", "\u202e".encode(), "\u200b".encode(), "\u2028".encode()):
        assert obeyed not in text
    assert b"\\x1b[2J\\x9b2J\\u202e\\u200b\\u2028end" in text
    letters = {"UTF-8": "Grüße 🤫".encode(), "latin-1": "Grüße ".encode("latin-1") + b"\\U0001f92b"}
    assert letters.get(locale, b"Gr\\xfc\\xdfe \\U0001f92b") in text


async def test_nobody_is_ended_by_a_letter(tmp_path: Path) -> None:
    async with testing.network(5, transport="loopback") as net:
        for name in ("host", "visitor"):  # with a consensus of their own: this network has no HTTP
            async with net.join(name):
                pass
        common = ("--network", net.folder / "network.toml")
        async with net.join() as node, node.host(Identity.generate()) as endpoint:

            async def answer() -> None:
                async for whisper in endpoint:
                    await whisper.reply(whisper.body)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer)
                await endpoint.reachable()
                body = tmp_path / "body"
                body.write_text(NASTY)
                asked = ("--file", body, *common, "--data", net.folder / "visitor")
                for locale in LOCALES:
                    status, terminal, stderr = await trio.to_thread.run_sync(
                        whisper_on_a_terminal, locale, endpoint.address, *asked
                    )
                    assert status == 0, stderr
                    unharmed(terminal, locale)
                    assert b"delivered over" in stderr
                nursery.cancel_scope.cancel()
        for locale in ("ascii", "C"):
            await shown_by_a_host(net, locale)


async def shown_by_a_host(net: testing.Network, locale: str) -> None:
    identity = Identity.generate()
    (net.folder / "host" / "identity").write_bytes(identity.to_bytes())
    (net.folder / "host" / "identity").chmod(0o600)
    host = subprocess.Popen(
        [
            *(*COMMAND, "host", "--network", str(net.folder / "network.toml")),
            *("--data", str(net.folder / "host")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(locale),
    )
    try:
        async with net.join() as node, node.contact(identity.address) as contact:
            for _ in range(2):
                with trio.fail_after(PATIENCE_SECONDS):
                    receipt = await contact.whisper(NASTY.encode(), ttl_seconds=600)
                assert receipt.status == "delivered"
            await trio.sleep(0.5)
        assert host.poll() is None
    finally:
        host.terminate()
        out, err = await trio.to_thread.run_sync(host.communicate)
    assert host.returncode == 0, err
    unharmed(out, locale)
    assert out.count(b"u202e") == 2
    assert b"Traceback" not in err


@pytest.mark.parametrize("locale", LOCALES)
def test_commands_that_say_much_end_well(locale: str) -> None:
    demo = [["demo", "--relays", "4", "--hops", "1"]] if locale == "C" else []
    for command in (["--help"], ["whisper", "--help"], *demo):
        done = subprocess.run(
            [*COMMAND, *command],
            capture_output=True,
            env=environment(locale),
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == b""
