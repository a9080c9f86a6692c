"""The documents say what is: what can be compared with the source, is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from onionshh.cli.app import app
from onionshh.cli.saving.members import ITEMS
from onionshh.core.base.params import ONE_MACHINE, RANGES, Params
from onionshh.relay.allowance import DRAIN_SECONDS, SPARE
from onionshh.wire import cell, messages
from tests.layers import SHIPPED, WHOLE_FOLDERS

ROOT = Path(__file__).parent.parent
DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "SPEC.md",
    "THREATS.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "API.md",
)
SECTIONS = 18
NO_KEY_OF_THE_WIRE = {"endpoint folder", "contact folder", "board folder", "meeting folder", "same body"}


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every row of every table."""
    for line in text.splitlines():
        if line.startswith("|"):
            yield [part.strip() for part in line.strip("|").split("|")]


def test_the_table_of_files_has_each_that_a_backup_keeps_and_its_format() -> None:
    table = text_of("ARCHITECTURE.md").partition("## On disk")[2].partition("## ")[0]
    files = {
        name: row[2] for row in rows(table) if len(row) == 4 for name in re.findall(r"`DIR/(.*?)`", row[0])
    }
    for item in (item for items in ITEMS.values() for item in items):
        version = files[item.path.replace("[0-9a-f]{16}", "<hash>")]
        if item.migrations:
            assert re.match(rf"SQLite user_version {len(item.migrations)}\b", version), item.path


def test_the_specification_has_all_its_sections_in_order() -> None:
    found = re.findall(r"^## (\d+) \S", text_of("SPEC.md"), re.MULTILINE)
    assert found == [str(number) for number in range(1, SECTIONS + 1)]


def test_every_section_that_is_cited_is_there() -> None:
    texts = [path.read_text(encoding="utf-8") for path in sources(*SHIPPED, *WHOLE_FOLDERS)]
    texts += [text_of(name) for name in DOCUMENTS if name != "SPEC.md"]
    cited: set[int] = set()
    for text in texts:
        for numbers in re.findall(r"SPEC (\d+(?:(?:, | and | to )\d+)*)", text):
            cited.update(map(int, re.findall(r"\d+", numbers)))
    assert cited
    assert cited <= set(range(1, SECTIONS + 1))


def test_the_parameters_are_those_of_the_program() -> None:
    section = text_of("SPEC.md").partition("\n## 8 ")[2].partition("\n## 9 ")[0]
    said = {row[0]: row[1:4] for row in rows(section) if row[0] in RANGES}
    params = Params()
    assert said == {
        name: [str(getattr(params, name)), f"{least} to {most}", str(ONE_MACHINE.get(name, ""))]
        for name, (least, most) in RANGES.items()
    }


def test_the_commands_and_message_types_are_those_of_the_program() -> None:
    section = text_of("SPEC.md").partition("\n## 2 ")[2].partition("\n## 3 ")[0]
    said: dict[str, int] = {}
    for row in rows(section):
        if re.fullmatch(r"[A-Z0-9_]+(?:, [A-Z0-9_]+)*", row[0]):
            said |= zip(row[0].split(", "), map(int, row[1].split(", ")), strict=True)
    for name, number in said.items():
        assert getattr(cell, name, getattr(messages, name, None)) == number, name
    assert set(messages.MOST) | set(cell.COMMANDS) <= set(said.values())
    caps = {row[1]: row[3] for row in rows(section) if len(row) == 4 and row[1].isdigit() and row[3]}
    assert {str(kind): f"{most:,}".replace(",", " ") for kind, most in messages.MOST.items()} == {
        number: cap for number, cap in caps.items() if cap.replace(" ", "").isdigit()
    }


def test_every_text_that_is_signed_or_hashed_is_in_the_specification() -> None:
    specification = text_of("SPEC.md")
    for path in sources(*SHIPPED):
        source = path.read_text(encoding="utf-8")
        for said in re.findall(r'b"(onionshh [a-z ]+ v1)"', source):
            assert said in specification, f"{path.name}: {said}"
        for label in set(re.findall(r'\bkdf\("([^"]+)"', source)) - NO_KEY_OF_THE_WIRE:
            assert f"\n| {label} | " in specification, f"{path.name}: {label}"


def test_every_source_file_has_its_line_and_every_line_its_file() -> None:
    named: set[str] = set()
    folder = ""
    for line in text_of("ARCHITECTURE.md").splitlines():
        if line.startswith("#"):
            folder = line.removeprefix("### ") if line.startswith("### ") and line.endswith("/") else ""
        row = re.match(r"\| `(\w+\.py)` \| \S", line)
        if folder and row:
            named.add(folder + row[1])
    there = {
        path.relative_to(ROOT).as_posix()
        for path in sources(*SHIPPED)
        if path.name != "__init__.py" or path.parent.name in ("onionshh", "cli")
    }
    assert named == there


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads(text_of("pyproject.toml"))
    section = text_of("ARCHITECTURE.md").partition("\n## Dependencies\n")[2].partition("\n## ")[0]
    names = {re.split(r"[<>=~\[ ]", one)[0] for one in project["project"]["dependencies"]}
    assert {row[0] for row in rows(section)} - {"package", "---"} == names
    for group in project["dependency-groups"].values():
        for one in group:
            assert re.split(r"[<>=~\[ ]", one)[0] in section


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "THREATS.md", "CONTRIBUTING.md", "README.md"])
def test_every_file_that_is_named_is_there(name: str) -> None:
    text = text_of(name)
    pattern = r"`((?:tests|onionshh|relay|rendezvous|directory|simulations)/[\w/]+(?:\.py)?/?)`"
    found = re.findall(pattern, text)
    assert not [path for path in found if not (ROOT / path).exists()]
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert not [path for path in links if not (ROOT / path).exists()]


def test_every_typical_change_leads_to_its_files_and_tests() -> None:
    section = text_of("CONTRIBUTING.md").partition("\n## Where does my change belong\n")[2]
    changes = [row for row in rows(section.partition("\n## ")[0]) if row[0] not in ("change", "---")]
    assert len(changes) >= 10
    for change, files in changes:
        named = re.findall(r"`([\w/]+/\w+\.py)`", files)
        assert any(path.startswith("tests/") for path in named), change
        assert any(not path.startswith("tests/") for path in named), change


def test_every_claim_of_the_threats_names_a_test() -> None:
    section = text_of("THREATS.md").partition("\n## What is defended\n")[2].partition("\n## ")[0]
    claims = [row for row in rows(section) if row[0] not in ("claim", "---")]
    assert len(claims) > 20
    assert not [row[0] for row in claims if len(row) != 4 or "`tests/" not in row[3]]


def test_the_commands_of_the_readme_are_commands() -> None:
    context = click.Context(app)
    commands = {name: app.get_command(context, name) for name in app.list_commands(context)}
    used = re.findall(r"onionshh ([a-z]+)((?: [^\s`;&#]+)*)", "\n".join(_code(text_of("README.md"), "")))
    assert {name for name, _ in used} >= {"directory", "relay", "host", "whisper"}
    for name, rest in used:
        command = commands[name]
        assert command is not None, name
        options = {option for one in command.params for option in one.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options, name


def test_the_readme_says_when_a_relay_drains_and_hibernates() -> None:
    text = text_of("README.md")
    assert f"At {100 - 100 // SPARE} % the relay takes no new circuits" in text
    assert "A minute later, or as soon as the rest is used up, it ends its links" in text
    assert DRAIN_SECONDS == 60


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_document_knows_a_machine_or_a_plan(name: str) -> None:
    text = text_of(name)
    for word in ("/work", "/tmp", "/home/", "/root", "../", "PROTOCOL", "HOUSE.md", "TODO", "FIXME"):
        assert word not in text, word


def _code(text: str, language: str) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for marked, block in blocks if marked == language]
