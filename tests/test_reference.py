"""API.md is what the docstrings say now, and what it and README.md show does what they say it does."""

from __future__ import annotations

import ast
import inspect
import logging
import re
from dataclasses import is_dataclass
from pathlib import Path

import pytest
import trio

import onionshh
from onionshh import testing
from tests import reference
from tests.client.world import until
from tests.doc_examples import Example, examples, run_example, run_in_virtual_time, world

README = reference.FILE.parent / "README.md"
NAMES = [name for group in reference.GROUPS for name in group.names]
CLASSES = [name for name in NAMES if isinstance(reference.find(name), type)]
NO_EXAMPLE = {"source", "dialer"}
"""For those who build networks of their own; everybody else has no use for them."""
PLAIN = {"self", "cls", "body", "path", "host"}
"""Parameters that the sentence about the whole describes."""


def test_the_reference_is_what_the_docstrings_say_now() -> None:
    assert reference.FILE.read_text(encoding="utf-8") == reference.page(), "run make reference"


def test_every_public_name_is_in_one_group() -> None:
    assert len(NAMES) == len(set(NAMES))
    assert {name for name in NAMES if "." not in name} == set(onionshh.__all__)
    here = {
        f"testing.{name}"
        for name, thing in vars(testing).items()
        if getattr(thing, "__module__", "") == "onionshh.testing" and not name.startswith("_")
    }
    assert {name for name in NAMES if "." in name} == here - {"testing.LocalSource", "testing.usual_roles"}


@pytest.mark.parametrize("name", NAMES)
def test_everything_public_has_a_docstring(name: str) -> None:
    thing = reference.find(name)
    assert reference.docstring(thing)
    if isinstance(thing, type):
        for member, value in reference.members(thing).items():
            assert reference.docstring(value), f"{name}.{member}"
        for member, (_, text) in reference.fields(thing).items():
            assert text or f"`{member}`" in reference.docstring(thing), f"{name}.{member}"


@pytest.mark.parametrize("name", [name for name in CLASSES if not is_dataclass(reference.find(name))])
def test_everything_public_that_is_set_is_described(name: str) -> None:
    """What `__init__` gives an object to show stands in the docstring of its class."""
    thing = reference.find(name)
    assert isinstance(thing, type)
    if "__init__" not in vars(thing):
        return
    source = inspect.cleandoc("\n" + inspect.getsource(vars(thing)["__init__"]))
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
            and not node.attr.startswith("_")
        ):
            assert f"`{node.attr}: " in reference.docstring(thing), node.attr


def test_every_public_method_and_property_is_in_an_example() -> None:
    used = {
        node.attr if isinstance(node, ast.Attribute) else node.name if isinstance(node, ast.alias) else ""
        for example in examples(reference.FILE)
        for node in ast.walk(example.tree)
    }
    for name in CLASSES:
        thing = reference.find(name)
        assert isinstance(thing, type)
        assert set(reference.members(thing)) - NO_EXAMPLE <= used, name
    assert {name.rpartition(".")[2] for name in NAMES if name not in CLASSES} <= used


def test_every_parameter_is_described() -> None:
    for name in NAMES:
        thing = reference.find(name)
        members = reference.members(thing) if isinstance(thing, type) else {name: thing}
        for key, member in members.items():
            function = member.__func__ if isinstance(member, classmethod) else member
            if isinstance(function, property) or not callable(function):
                continue
            known = "".join(map(reference.docstring, [thing, *members.values()]))
            for parameter in inspect.signature(inspect.unwrap(function)).parameters:
                if parameter not in PLAIN:
                    assert f"`{parameter}" in known, f"{name}.{key}: {parameter}"


def test_every_link_of_the_reference_leads_somewhere() -> None:
    text = reference.FILE.read_text(encoding="utf-8")
    slugs = [
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#{2,4} (.+)$", text, re.MULTILINE)
    ]
    there = [
        f"{slug}-{count}" if (count := slugs[:at].count(slug)) else slug for at, slug in enumerate(slugs)
    ]
    assert re.findall(r"\]\(#([^)]+)\)", text) == there


@pytest.mark.parametrize("example", examples(reference.FILE), ids=str)
def test_the_examples_do_what_they_say(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # an error that is kept keeps the whisper whose handler raised it
    monkeypatch.chdir(tmp_path)
    run_example(example, monkeypatch)


def test_the_programs_of_the_readme_talk_to_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first hosts, the second asks it."""
    monkeypatch.chdir(tmp_path)
    host, visitor, *_ = examples(README)

    async def talk() -> None:
        async with world(monkeypatch), trio.open_nursery() as nursery:
            nursery.start_soon(host.load()["main"])
            await until(lambda: bool(host.said))
            monkeypatch.setattr("sys.argv", ["ask.py", host.said[0]])
            await visitor.load()["main"]()
            nursery.cancel_scope.cancel()

    run_in_virtual_time(talk)
    host.finish()
    visitor.finish()


def test_the_conversation_of_the_readme_goes_on_after_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third hosts and visits in one program."""
    monkeypatch.chdir(tmp_path)
    run_example(examples(README)[2], monkeypatch)


def test_the_whisper_of_the_readme_waits_for_its_endpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the fourth the endpoint is away when the whisper is sent."""
    monkeypatch.chdir(tmp_path)
    run_example(examples(README)[3], monkeypatch)
