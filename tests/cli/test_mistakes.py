"""What a person gets wrong: one sentence that says what to do, the exit status, and never a traceback."""

from __future__ import annotations

import json
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trio

from onionshh import testing
from onionshh.cli import main, patience
from onionshh.config import Authority, NetworkFile, format_network_file
from onionshh.crypto.identity import IdentityKeys
from onionshh.net.store import DataDirectory
from tests.cli.conftest import Mistake, network_file
from tests.seeded import seeded

ADDRESS = IdentityKeys.generate(seeded(1)).address


@pytest.fixture
def taken() -> Iterator[int]:
    """A port in use."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A network file whose directory is down."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return network_file(tmp_path / "net.toml", port)


def test_mistyped_address(mistake: Mistake, network: Path) -> None:
    wrong = ADDRESS[:-1] + ("q" if ADDRESS[-1] != "q" else "p")
    for json_option in ((), ("--json",)):
        said = mistake(2, "whisper", "--network", network, wrong, "hello", *json_option)
        assert f"{wrong} is not an onionshh address" in said
        assert "copy the address again" in said


@pytest.mark.parametrize(
    "command",
    [
        ("whisper", ADDRESS, "hello"),
        ("whisper", ADDRESS, "hello", "--json"),
        ("post", "chess", "hello", "--json"),
        ("board", "chess", "--json"),
        ("relays", "--json"),
        ("host", "--data", "me"),
        ("relay", "--data", "relay", "--listen", "127.0.0.1:0"),
    ],
)
def test_missing_network_file(
    mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr(patience, "FILE_SECONDS", 0.0)
    said = mistake(2, *command, "--network", tmp_path / "none.toml")
    assert "There is no network file at" in said
    assert "start a directory" in said


def test_no_network_file_named(mistake: Mistake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ONIONSHH_NETWORK", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # where no network runs
    said = mistake(2, "whisper", ADDRESS, "hello", "--json")
    assert "--network" in said
    assert "ONIONSHH_NETWORK" in said


def test_environment_names_the_network_file(
    mistake: Mistake, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONIONSHH_NETWORK", str(network))
    assert "No directory answers" in mistake(1, "relays")


def test_port_in_use(mistake: Mistake, network: Path, tmp_path: Path, taken: int) -> None:
    listen = f"127.0.0.1:{taken}"
    said = mistake(1, "relay", "--network", network, "--listen", listen, "--data", tmp_path / "relay")
    assert "in use" in said
    assert "--listen" in said
    new = tmp_path / "new.toml"
    said = mistake(1, "directory", "--network", new, "--listen", listen, "--data", tmp_path / "dir")
    assert "in use" in said
    assert "--listen" in said
    assert not new.exists()


def test_directory_down(mistake: Mistake, network: Path, tmp_path: Path) -> None:
    for command in (
        ("whisper", ADDRESS, "hello", "--data", tmp_path / "visitor", "--json"),
        ("post", "chess", "hello", "--data", tmp_path / "visitor", "--json"),
        ("board", "chess", "--data", tmp_path / "visitor"),
        ("relays", "--json"),
    ):
        said = mistake(1, *command, "--network", network)
        assert "No directory answers (http://127.0.0.1:" in said
        assert "check that it runs" in said


def test_folder_in_use(mistake: Mistake, network: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with DataDirectory(data).lock():
        for command in (
            ("host", "--network", network, "--json"),
            ("relay", "--network", network, "--listen", "127.0.0.1:0"),
            ("directory", "--network", tmp_path / "new.toml", "--listen", "127.0.0.1:0"),
        ):
            said = mistake(1, *command, "--data", data)
            assert f"{data} is in use already" in said
            assert "--data" in said


def test_whisper_too_large(
    mistake: Mistake, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("whisper", "--network", network, ADDRESS)
    assert "at most 65535 bytes" in mistake(2, *command, "x" * 65_536, "--json")
    large = tmp_path / "large"
    large.write_bytes(bytes(70_000))
    with large.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert "at most 65535 bytes" in mistake(2, *command, "-", "--json")


@pytest.mark.parametrize(
    "command, said",
    [
        (("whisper", ADDRESS, "x", "--hops", "4"), "--hops"),
        (("whisper", ADDRESS, "x", "--class", "dark"), "choose flash or talk"),
        (("whisper", ADDRESS, "x", "--ttl", "604801"), "7 days"),
        (("whisper", ADDRESS, "x", "--ttl", "0"), "TTL"),
        (("whisper", ADDRESS, "x", "--wait", "nan"), "--wait"),
        (("whisper", ADDRESS, "x", "--wait", "-1"), "--wait"),
        (("whisper", ADDRESS, "x", "--bind", "192.0.2.1"), "--bind"),
        (("whisper", ADDRESS, "x", "--via", "http://h:1"), "--via: that is not a proxy"),
        (("relay", "--data", "d", "--listen", "127.0.0.1:0", "--via", "tor="), "needs a host and a port"),
        (("whisper", ADDRESS, "x", "--nonsense"), "--nonsense"),
        (("post", "chess", "x", "--bind", "192.0.2.1"), "--bind"),
        (("post", "chess", "x", "--nonsense"), "--nonsense"),
        (("post", "chess", "x", "more"), "unexpected extra argument (more)"),
        (("board", "chess", "--bind", "192.0.2.1"), "--bind"),
        (("board", "chess", "x"), "unexpected extra argument (x)"),
        (("meet", "secret", "--bind", "192.0.2.1"), "--bind"),
        (("meet",), "SECRETFILE"),
        (("host", "--data", "d", "--introducers", "21"), "--introducers"),
        (("host", "--data", "d", "--echo", "--exec", "cat"), "exclude each other"),
        (("host", "--data", "d", "--exec", "no-such-program"), "--exec"),
        (("relay", "--data", "d", "--listen", "7000"), "HOST:PORT"),
        (("relay", "--data", "d", "--listen", "0.0.0.0:7000"), "--advertise"),
        (("relay", "--data", "d", "--listen", "127.0.0.1:0", "--advertise", "a"), "HOST:PORT"),
        (("relay", "--data", "d", "--listen", "127.0.0.1:0", "--advertise", "a:1"), "IP address"),
        (("relay", "--data", "d", "--listen", "127.0.0.1:0", "--nickname", "no blanks"), "--nickname"),
        (("relay", "--data", "d", "--listen", "127.0.0.1:0", "--family", "ff"), "--family"),
        (("relay", "--data", "d", "--listen", "127.0.0.1:0", "--rate", "-1"), "--rate"),
    ],
)
def test_wrong_options(
    mistake: Mistake,
    network: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in mistake(2, *command, "--network", network)


@pytest.mark.parametrize(
    "options, said",
    [
        (("--param", "nonsense=1"), "no parameter 'nonsense'"),
        (("--param", "window"), "NAME=VALUE"),
        (("--param", "window=100"), "ack_every must divide window"),
        (("--interval", "0"), "interval_seconds must be between"),
    ],
)
def test_wrong_parameters(mistake: Mistake, tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    folder = tmp_path / "dir"
    command = (
        "directory",
        "--listen",
        "127.0.0.1:0",
        "--data",
        folder,
        "--network",
        tmp_path / "n",
        *options,
    )
    assert said in mistake(2, *command)
    assert not folder.exists()


def test_damaged_network_file(mistake: Mistake, tmp_path: Path) -> None:
    path = tmp_path / "net.toml"
    for damage, said in (
        (b"nonsense", "is not valid TOML"),
        ("name".encode("utf-16"), "UTF-16"),
        (b"\xef\xbb\xbf \n", "is empty"),
        (bytes(300_000), "larger than any network file"),
    ):
        path.write_bytes(damage)
        found = mistake(2, "relays", "--network", path)
        assert said in found
        assert str(path) in found
    assert "give a file, not a folder" in mistake(2, "relays", "--network", tmp_path)


def test_no_identity(mistake: Mistake, tmp_path: Path) -> None:
    assert "There is no endpoint in" in mistake(2, "address", "--data", tmp_path)


def test_damaged_identity(mistake: Mistake, tmp_path: Path) -> None:
    (tmp_path / "identity").write_bytes(b"nonsense")
    assert "restore it from a backup" in mistake(2, "address", "--data", tmp_path)


def test_a_folder_that_cannot_be(mistake: Mistake, network: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = mistake(2, "host", "--network", network, "--data", tmp_path / "file")
    assert "Cannot use" in said


def test_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "identity").write_bytes(IdentityKeys.generate(seeded(1)).to_bytes())
    assert main(["address", "--data", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{ADDRESS}\n"


# What a visitor cannot see at once.


@pytest.mark.parametrize(
    "there, said",
    [
        (None, "clock is about 3 hours ahead of the directory's list"),
        (-3 * 3600, "clock is about 3 hours ahead of that of the directory"),
        (0, "about 3 hours ago, and has expired, though its clock agrees with this machine's"),
    ],
)
def test_clock_wrong(mistake: Mistake, tmp_path: Path, there: int | None, said: str) -> None:
    """A good consensus of three hours ago, an hour valid: our clock is as much ahead, so it seems, unless the
    directory says what time it is there."""

    async def old() -> tuple[NetworkFile, bytes]:
        async with testing.network(0, wall_start=int(time.time()) - 3 * 3600 - 60) as net:
            return net.file, net.authority.document

    file, document = trio.run(old)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200)
            if there is not None:
                self.send_header("Date", formatdate(time.time() + there, usegmt=True))
            self.send_header("Content-Length", str(len(document)))
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            path = tmp_path / "net.toml"
            only = (Authority(url, file.authorities[0].key),)
            path.write_text(format_network_file(NetworkFile(file.name, 1, only)))
            for command in (("relays",), ("whisper", ADDRESS, "x", "--data", tmp_path / "visitor")):
                assert said in mistake(1, *command, "--json", "--network", path)
        finally:
            server.shutdown()
            thread.join()


# What a tired person types.


@pytest.mark.parametrize(
    "command",
    [
        ("host", "--data", ""),
        ("address", "--data", ""),
        ("relay", "--listen", "127.0.0.1:0", "--data", " "),
        ("directory", "--listen", "127.0.0.1:0", "--data", ""),
        ("whisper", ADDRESS, "x", "--data", ""),
        ("whisper", ADDRESS, "--file", ""),
        ("whisper", "--address-file", "", "x"),
        ("post", "chess", "x", "--data", ""),
        ("post", "chess", "x", "--author", ""),
        ("post", "chess", "--file", ""),
        ("board", "--topic-file", ""),
        ("meet", ""),
        ("relays", "--network", ""),
    ],
)
def test_an_empty_path(
    mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """`--data "$UNSET"` must not write keys into the current folder."""
    monkeypatch.chdir(tmp_path)
    network = () if "--network" in command or command[0] == "address" else ("--network", tmp_path / "net")
    assert "it is empty; give a path" in mistake(2, *command, *network)
    assert list(tmp_path.iterdir()) == []


def test_a_bind_that_leads_nowhere(mistake: Mistake, network: Path, tmp_path: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    for command in (
        ("relays",),
        ("whisper", ADDRESS, "x"),
        ("host", "--data", tmp_path / "me"),
        ("relay", "--data", tmp_path / "relay", "--listen", "[::1]:0"),
    ):
        said = mistake(2, *command, "--network", network, "--bind", "::1")
        assert "--bind ::1 is an IPv6 address" in said
        assert "IPv4" in said


def test_the_text_before_the_address(mistake: Mistake, network: Path) -> None:
    said = mistake(2, "whisper", "--network", network, "hello", ADDRESS)
    assert "The address comes first; hello is not an address." in said


def test_an_address_with_what_stood_around_it(mistake: Mistake, network: Path, tmp_path: Path) -> None:
    """It is taken; only the directory is down."""
    for pasted in (f" <{ADDRESS}>.", f"shh://{ADDRESS.upper()}", f"{ADDRESS[:30]}\n  {ADDRESS[30:]}"):
        command = ("whisper", "--network", network, "--data", tmp_path / "visitor", pasted, "hello")
        assert "No directory answers" in mistake(1, *command)


def test_an_address_that_would_be_obeyed(mistake: Mistake, network: Path) -> None:
    said = mistake(2, "whisper", "--network", network, "\x1b[2J\u202e" + "x" * 200, "hello")
    assert said.startswith(r"\x1b[2J\u202exxx")
    assert "… is not an onionshh address. An address has only" in said
    assert said.isprintable()


def test_address_and_whisper_from_files(
    mistake: Mistake, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is read; only the directory is down."""
    friend, letter, large = (tmp_path / name for name in ("friend", "letter", "large"))
    friend.write_text(f"{ADDRESS}\n")
    letter.write_bytes(b"hello\xff")
    large.write_bytes(bytes(65_536))
    common = ("whisper", "--network", network, "--data", tmp_path / "visitor")
    good: tuple[tuple[object, ...], ...] = (
        ("--address-file", friend, "hello"),
        ("--address-file", friend, "--file", letter),
        (ADDRESS, "--file", letter),
    )
    for rest in good:
        assert "No directory answers" in mistake(1, *common, *rest)
    piped = ((friend, ("--address-file", "-", "hello")), (letter, (ADDRESS, "--file", "-")))
    for path, rest in piped:
        with path.open() as file:
            monkeypatch.setattr("sys.stdin", file)
            assert "No directory answers" in mistake(1, *common, *rest)
    bad: tuple[tuple[object, ...], ...] = (
        ("exclude each other", "--address-file", friend, ADDRESS, "hello"),
        ("exclude each other", ADDRESS, "hello", "--file", letter),
        ("stdin cannot be both", "--address-file", "-"),
        ("stdin cannot be both", "--address-file", "-", "--file", "-"),
        ("Give ADDRESS",),
        (f"{large} is more", ADDRESS, "--file", large),
        ("give a file, not a folder", ADDRESS, "--file", tmp_path),
        ("check the path", "--address-file", tmp_path / "none", "hello"),
        (f"What {letter} holds is not an onionshh address", "--address-file", letter, "hello"),
        (f"What {large} holds is not an onionshh address", "--address-file", large, "hello"),
    )
    for said, *wrong in bad:
        assert str(said) in mistake(2, *common, *wrong)


def test_our_network_is_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A visitor with a good consensus whom no guard answers: their ports are closed."""

    async def then() -> None:
        async with testing.network(4, transport="loopback", params={"interval_seconds": 1}) as net:
            async with net.join("visitor"):
                pass
            shutil.copytree(net.folder / "visitor", tmp_path / "visitor")
            shutil.copy(net.folder / "network.toml", tmp_path / "net.toml")

    trio.run(then)
    command = ["whisper", ADDRESS, "x", "--network", str(tmp_path / "net.toml"), "--wait", "0.3", "--json"]
    with socket.socket() as held:  # nobody listens there
        held.bind(("127.0.0.1", 0))
        proxy = ["--via", f"socks5://127.0.0.1:{held.getsockname()[1]}"]
        for more, why in (
            ([], "no guard answers"),
            (proxy, "the proxy does not answer (Connection refused)"),
        ):
            assert main([*command, "--data", str(tmp_path / "visitor"), *more]) == 1
            found = json.loads(capsys.readouterr().out)
            assert found["status"] == "failed"
            assert found["why"].endswith("; given up, nothing more is sent")
            assert why in found["why"]


# Help


def helped(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*command.split(), "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "command, names",
    [
        (
            "host",
            "address reachable introducers statistics seconds unreachable why whisper id received_at body"
            " body_base64 reply_to done error",
        ),
        (
            "whisper",
            "status why id hops class connect_seconds round_trip_seconds reply reply_base64 delivered expired"
            " failed sent",
        ),
        ("post", "status why id copies expires proof_seconds stored queued failed recalled expired"),
        (
            "board",
            "id author number missing late posted_at expires cursor body body_base64",
        ),
        (
            "meet",
            "event met others whisper id received_at waited body body_base64 receipt status why copies"
            " problem error",
        ),
        ("relays", "nickname id address addresses flags weight first_seen software"),
    ],
)
def test_help_names_what_json_gives(command: str, names: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = helped(command, capsys).replace('"', " ").replace(",", " ").replace(":", " ").replace(";", " ")
    assert set(names.split()) <= set(words.replace(".", " ").split())


@pytest.mark.parametrize(
    "command, options",
    [
        ("demo", "--relays --hops"),
        (
            "directory",
            "--listen --data --network --interval --param --log-level --log-format --metrics --bind --via",
        ),
        (
            "relay",
            "--network --listen --data --nickname --advertise --onion --family --rate --monthly --month-day"
            " --drain-seconds --log-level --log-format --metrics --bind --via",
        ),
        (
            "host",
            "--network --data --echo --exec --receive --introducers --no-receipts --senders --no-inbox"
            " --verbose --log-level --log-format --metrics --bind --via --json",
        ),
        (
            "whisper",
            "--network --address-file --file --hops --class --ttl --wait --name --no-store --no-receipt"
            " --data --verbose --bind --via --json",
        ),
        (
            "send",
            "--network --address-file --hops --class --ttl --name --data --verbose --bind --via --json",
        ),
        (
            "post",
            "--topic-file --network --file --ttl --author --name --mine --recall --extend --wait --data"
            " --verbose --bind --via --json",
        ),
        (
            "board",
            "--topic-file --network --watch --after --limit --name --data --verbose --bind --via --json",
        ),
        ("meet", "--network --ttl --name --stay --data --verbose --bind --via --json"),
        ("contacts", "--network --data --forget --json"),
        ("relays", "--network --why --bind --via --json"),
        ("status", "--data --json"),
        ("top", "--data --interval"),
        ("address", "--data"),
    ],
)
def test_help_has_every_option_and_an_example(
    command: str, options: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = helped(command, capsys)
    listed = text[text.index("\nOptions:") :]
    found = [line.split()[0] for line in listed.splitlines() if line.startswith("  --")]
    assert found == [*options.split(), "--config", "--print-config", "--help"]
    assert f"onionshh {command}" in text[: text.index("\nOptions:")]


def test_help_lists_the_commands_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    listed = helped("", capsys).partition("\nCommands:\n")[2]
    found = re.findall(r"^  (\w+) ", listed, re.MULTILINE)
    running = ["demo", "network", "directory", "relay", "master", "host", "status", "top"]
    talking = ["whisper", "send", "post", "board", "meet"]
    asking = ["contacts", "relays", "reasons"]
    assert found == [*running, *talking, *asking, "backup", "restore", "address", "completion"]


def test_the_environment_asks_for_no_completion(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_ONIONSHH_COMPLETE", "bash_source")
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("Usage: ")


def test_bare_command_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "onionshh demo" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from onionshh import __version__
    from onionshh.crypto.uiv import CIPHER

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"onionshh {__version__}, cipher: {CIPHER.name}\n"
