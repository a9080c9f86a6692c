"""What real programs expose, as a Prometheus would read it."""

from __future__ import annotations

from collections.abc import Iterable

import trio
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample as Parsed

from onionshh.cli.handling import Tally
from onionshh.cli.host import numbers_of
from onionshh.cli.metrics.exposition import text
from onionshh.cli.metrics.families import Sample
from onionshh.cli.metrics.rounding import Rounding
from onionshh.cli.metrics.samples import of_directory, of_host, of_process, of_relay
from onionshh.core.base.chance import Chance
from onionshh.reasons import Reason
from onionshh.relay.master import new_signer
from tests.client.world import QUIET, hosted, small
from tests.seeded import seeded


def parsed(data: bytes) -> list[Parsed]:
    """The samples of a text."""
    return [sample for family in text_string_to_metric_families(data.decode()) for sample in family.samples]


def names(data: bytes) -> set[str]:
    return {sample.name for sample in parsed(data)}


def written(kind: str, samples: Iterable[Sample]) -> bytes:
    return text([*of_process(kind, 61.5, 0.002), *samples], rounding())


def rounding() -> Rounding:
    return Rounding(Chance(seeded(1)))


async def of_a_network() -> dict[str, bytes]:
    """By its kind, what a relay, a directory and a host of a small network in use expose."""
    async with small(**QUIET) as net, net.join("visitor") as visitor, hosted(net) as (node, endpoint):
        async with visitor.contact(endpoint.address) as contact:
            await contact.whisper(b"hello")
            relay = net.relays[0].relay
            relay.drops.count(Reason.MEMORY)
            relay.keys.sign_with(new_signer(relay.keys.signer.key, net.clock.wall() + 86_400, seeded(2)))
            net.authority.answers[200] += 1
            await trio.sleep(1)
            return {
                "relay": written("relay", of_relay(relay.statistics())),
                "directory": written("directory", of_directory(net.authority.statistics())),
                "host": written("host", of_host(numbers_of(node, endpoint, Tally(), None))),
            }
