"""What is completed as the value of an option: what files on this machine know."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from trio.testing import MockClock

from onionshh.cli.completing import (
    contact_names,
    files,
    parameters,
    privacy_classes,
    reason_names,
    relay_ids,
)
from onionshh.client.identities import Identity
from onionshh.core.base.params import RANGES
from onionshh.reasons import Reason
from tests.client.world import small

ANY = click.Option(["--any"])


def context(**params: Path) -> click.Context:
    made = click.Context(click.Command("any"))
    made.params.update(params)
    return made


def test_names_from_the_program_itself() -> None:
    assert [item.value for item in privacy_classes(context(), ANY, "")] == ["flash", "talk"]
    assert [item.value for item in parameters(context(), ANY, "interv")] == ["interval_seconds="]
    assert len(parameters(context(), ANY, "")) == len(RANGES)
    assert len(reason_names(context(), ANY, "")) == len(Reason)
    assert [item.type for item in files(context(), ANY, "x")] == ["file"]
    for item in reason_names(context(), ANY, ""):
        assert item.help is not None
        assert "\n" not in item.help


async def test_relays_and_contacts_are_those_of_the_folder(autojump_clock: MockClock) -> None:
    address = Identity.generate().address
    async with small(3) as net, net.join("visitor") as node:
        async with node.contact(address, name="press"), node.contact(address, name="print"):
            pass
        here = context(network=net.folder / "network.toml", data=net.folder / "visitor")
        ids = {relay.id for relay in net.relays}
        assert {item.value for item in relay_ids(here, ANY, "")} == ids
        assert {item.help for item in relay_ids(here, ANY, "")} == {"relay1", "relay2", "relay3"}
        one = min(ids)
        assert [item.value for item in relay_ids(here, ANY, one[:40])] == [one]
        assert [item.value for item in contact_names(here, ANY, "")] == ["press", "print"]
        assert [item.value for item in contact_names(here, ANY, "pri")] == ["print"]


def test_without_files_nothing_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONIONSHH_NETWORK", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for given in (context(), context(data=tmp_path / "none"), context(network=tmp_path / "none")):
        assert relay_ids(given, ANY, "") == []
        assert contact_names(given, ANY, "") == []
    assert list(tmp_path.iterdir()) == []
