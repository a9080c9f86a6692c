"""`onionshh relays --why`: what is said of relays that are not listed, and the exit status for scripts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from onionshh.cli import main
from onionshh.cli.failures import Usage
from onionshh.cli.why import Answer, id_digits, show
from onionshh.config import Authority, NetworkFile, format_network_file
from onionshh.core.base.params import Params
from onionshh.directory.consensus import build
from onionshh.directory.entry import Listed
from onionshh.directory.signing import sign_consensus
from tests.directory.world import AUTHORITY_KEY, descriptor

Captured = pytest.CaptureFixture[str]
ID, OTHER, UNKNOWN = "ab" * 32, "cd" * 32, "ef" * 32
HOUR = 3600
WHEN = 1_700_000_000

LISTED = {
    "id": ID,
    "nickname": "birch",
    "status": "listed",
    "known": True,
    "listed": True,
    "why": "",
    "address": "192.0.2.1:9001",
    "published": WHEN,
    "since": WHEN - 86_400,
    "last_check": WHEN,
    "answered": True,
    "up_hours": 50,
    "software": "onionshh 0.1.0",
    "refused": None,
}
FAILING = {
    **LISTED,
    "id": OTHER,
    "nickname": "willow",
    "status": "failing",
    "listed": False,
    "why": "nothing listens at 192.0.2.1:9001",
    "answered": False,
    "up_hours": None,
    "refused": "refused 2 hours ago: the clock is wrong",
}
NOT_KNOWN = {"id": UNKNOWN, "status": "unknown", "known": False, "listed": False, "why": "check it"}


class Directory:
    """What it answers, by path."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.says: dict[str, tuple[int, object]] = {
            f"/relay/{ID}": (200, LISTED),
            f"/relay/{OTHER}": (200, FAILING),
            f"/relay/{UNKNOWN}": (404, NOT_KNOWN),
            "/unlisted": (200, {"relays": [FAILING], "left_off": 0}),
        }

    def relays(self, *arguments: str) -> int:
        return main(["relays", "--network", str(self.file), *arguments])


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    made = Directory(tmp_path / "net.toml")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, value = made.says[self.path]
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response_only(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        only = Authority(f"http://127.0.0.1:{server.server_port}", AUTHORITY_KEY.public)
        made.file.write_text(format_network_file(NetworkFile("n", 1, (only,))))
        yield made
        server.shutdown()
        thread.join()


def test_a_relay_that_is_listed(directory: Directory, capsys: Captured) -> None:
    assert directory.relays("--why", ID.upper()) == 0
    assert capsys.readouterr().out.splitlines() == [
        "birch 192.0.2.1:9001",
        f"  id {ID}",
        "  listed since 2023-11-13 22:13:20 UTC",
        "  last check 2023-11-14 22:13:20 UTC: answered",
        "  answers every check for 2 days",
        "  version onionshh 0.1.0",
    ]


def test_one_that_is_not_has_its_reason_and_a_status(directory: Directory, capsys: Captured) -> None:
    assert directory.relays("--why", ID, OTHER) == 3
    out = capsys.readouterr().out
    assert "  listed since" in out
    assert "  not listed since 2023-11-13 22:13:20 UTC: nothing listens at 192.0.2.1:9001\n" in out
    assert "  its last descriptor was refused 2 hours ago: the clock is wrong\n" in out
    assert "22:13:20 UTC: no answer\n" in out


def test_one_that_the_directory_does_not_know(directory: Directory, capsys: Captured) -> None:
    assert directory.relays("--why", UNKNOWN) == 3
    assert capsys.readouterr().out.splitlines() == [
        "not known",
        f"  id {UNKNOWN}",
        "  not known to the directory: check it",
    ]


def test_all_that_are_not_listed(directory: Directory, capsys: Captured) -> None:
    assert directory.relays("--why") == 0
    out = capsys.readouterr().out
    assert out.startswith("willow 192.0.2.1:9001\n")
    assert out.endswith("\n1 relay is known and not listed.\n")
    directory.says["/unlisted"] = (200, {"relays": [FAILING, FAILING], "left_off": 5})
    assert directory.relays("--why") == 0
    assert capsys.readouterr().out.endswith("7 relays are known and not listed; 5 of them are not shown.\n")
    directory.says["/unlisted"] = (200, {"relays": [], "left_off": 0})
    assert directory.relays("--why") == 0
    assert capsys.readouterr().out == "0 relays are known and not listed.\n"


def test_objects_for_programs(directory: Directory, capsys: Captured) -> None:
    assert directory.relays("--why", "--json") == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [FAILING]
    assert directory.relays("--json", "--why", ID, OTHER) == 3
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [LISTED, FAILING]


@pytest.mark.parametrize("body", [b"junk", b"[]", {}, {"known": 1}, {"relays": 7}])
def test_a_directory_that_says_nothing_of_use_is_one_that_does_not_answer(
    directory: Directory, capsys: Captured, body: object
) -> None:
    directory.says = dict.fromkeys(directory.says, (200, body))
    assert directory.relays("--why") == 1
    assert directory.relays("--why", ID, "--json") == 1
    out, err = capsys.readouterr()
    assert list(json.loads(out)) == ["error"]
    assert err.count("No directory answers") == 2


def signed_list(*identities: str) -> bytes:
    """A consensus of relays with these ids."""
    relays = [Listed(descriptor(1, identity=bytes.fromhex(one)), WHEN) for one in sorted(identities)]
    made = build(relays, network="n", params=Params(), shared_random=(), valid_after=WHEN)
    return sign_consensus(made.encode_body(), [AUTHORITY_KEY])


def test_the_first_digits_of_an_id_are_enough(directory: Directory, capsys: Captured) -> None:
    """As they stand in `onionshh relays`, in the page and in the directory's lines."""
    directory.says["/consensus"] = (200, signed_list(ID, "12" * 32))
    assert directory.relays("--why", ID[:8]) == 0
    assert capsys.readouterr().out.splitlines()[1] == f"  id {ID}"
    assert directory.relays("--why", f"{ID[:8]}…", OTHER[:63].upper()) == 3
    out = capsys.readouterr().out
    assert f"  id {ID}\n" in out
    assert f"  id {OTHER}\n" in out
    assert directory.relays("--why", "--json", OTHER[:8]) == 3
    assert json.loads(capsys.readouterr().out) == FAILING


def test_first_digits_that_nobody_or_that_several_have(directory: Directory, capsys: Captured) -> None:
    directory.says["/consensus"] = (200, signed_list(ID, f"{ID[:10]}{'0' * 54}"))
    assert directory.relays("--why", UNKNOWN[:8]) == 3
    assert capsys.readouterr().out.splitlines() == [
        "not known",
        f"  id {UNKNOWN[:8]}",
        "  not known to the directory: no relay that it tells of has an id that begins so; check the digits,"
        " or give all of them",
    ]
    assert directory.relays("--why", ID[:8]) == 2
    assert f"The ids of 2 relays begin with {ID[:8]}; give more digits." in capsys.readouterr().err
    assert directory.relays("--why", ID[:12]) == 0


@pytest.mark.parametrize("relays", [[], [{"id": 7}], [{"id": "\x1b"}], [{"id": ID[:40]}], [{"id": f"{ID}0"}]])
def test_ids_that_are_none_are_not_looked_up(
    directory: Directory, capsys: Captured, relays: list[object]
) -> None:
    directory.says["/consensus"] = (200, signed_list("12" * 32))
    directory.says["/unlisted"] = (200, {"relays": relays, "left_off": 0})
    assert directory.relays("--why", ID[:8]) == 3
    assert f"  id {ID[:8]}\n" in capsys.readouterr().out


def test_a_list_that_is_not_signed_is_not_looked_into(directory: Directory, capsys: Captured) -> None:
    for document in (b"junk", signed_list(ID)[:-1] + b"?"):
        directory.says["/consensus"] = (200, document)
        assert directory.relays("--why", ID[:8]) == 1
        assert "its list of relays is not valid" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["", "ab", "abcdef0", "xy" * 32, "ab" * 33, "birch", "\x1b[2J", "٣" * 8, "…"]
)
def test_what_is_no_id(text: str, directory: Directory, capsys: Captured) -> None:
    with pytest.raises(Usage, match="64 hexadecimal digits, of which the first 8 are enough"):
        id_digits(text)
    assert directory.relays("--why", text) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_an_id_alone_is_a_mistake(directory: Directory, capsys: Captured) -> None:
    assert directory.relays(ID) == 2
    assert "Give --why with an ID" in capsys.readouterr().err


@pytest.mark.parametrize("value", [None, True, 7, "\x1b[2J\u202e", [], {"a": 1}, 2**70, -1])
def test_whatever_a_directory_says_is_shown_as_text(value: object, capsys: Captured) -> None:
    show(Answer(({name: value for name in (*LISTED, "left_off")},), 0), named=True)
    out = capsys.readouterr().out
    assert out.count("\n") >= 2
    assert not {"\x1b", "\u202e"} & set(out)


PLACES = [
    {"address": "192.0.2.1:9001", "answered": True, "why": ""},
    {"address": "[2001:db8::1]:9001", "answered": False, "why": "no route"},
    {"address": f"{'a2' * 28}.onion:9001", "answered": None, "why": ""},
]


def test_each_of_several_addresses_has_its_line(capsys: Captured) -> None:
    show(Answer(({**LISTED, "why": "no route", "places": PLACES},)), named=True)
    assert capsys.readouterr().out.splitlines()[:6] == [
        "birch",
        f"  id {ID}",
        "  listed since 2023-11-13 22:13:20 UTC",
        "  at 192.0.2.1:9001: answered",
        "  at [2001:db8::1]:9001: not reached: no route",
        f"  at {'a2' * 28}.onion:9001: not asked yet",
    ]
    show(Answer(({**LISTED, "places": PLACES[:1]},)), named=True)
    assert capsys.readouterr().out.startswith(f"birch 192.0.2.1:9001\n  id {ID}\n  listed since")
    waiting = {"address": "192.0.2.1:9002", "answered": None, "why": "it has to answer first"}
    show(Answer(({**FAILING, "places": [*PLACES, waiting]},)), named=True)
    out = capsys.readouterr().out
    assert "the clock is wrong\n  at 192.0.2.1" in out
    assert "  at 192.0.2.1:9002: not asked: it has to answer first\n" in out


@pytest.mark.parametrize(
    "places",
    [7, "x", {}, [7, "x", None], [{"address": 7}], [{"address": "\x1b[2J", "why": "\u202e"}] * 10**4],
)
def test_whatever_it_says_of_addresses_is_bounded(places: object, capsys: Captured) -> None:
    show(Answer(({**LISTED, "places": places},)), named=True)
    out = capsys.readouterr().out
    assert out.count("\n") < 20
    assert not {"\x1b", "\u202e"} & set(out)


def test_hours_of_uptime_in_words(capsys: Captured) -> None:
    for hours, said in ((0, "less than an hour"), (1, "an hour"), (47, "47 hours"), (48, "2 days")):
        show(Answer(({**LISTED, "up_hours": hours},)), named=True)
        assert f"answers every check for {said}\n" in capsys.readouterr().out
