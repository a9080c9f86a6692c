"""Samples as Prometheus text. The format and its escapes are those of the package prometheus_client.

The package's global registry has collectors of its own, which tell of the process and the platform. Ours is a
registry of its own, which has nothing but what is in `families.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from onionshh.cli.metrics.families import Family, Kind, Sample
from onionshh.cli.metrics.rounding import Rounding

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
"""Every version of Prometheus takes this one."""

_Rounded = tuple[Sample, float]
"""A sample and its value as it is exposed."""


def text(samples: Iterable[Sample], rounding: Rounding) -> bytes:
    """The samples, each family once, in the order in which they first came. No value leaves unrounded."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(tuple((sample, rounding.shown(sample)) for sample in samples)))
    return generate_latest(registry)


class _Once(Collector):
    """Gives these samples as families of the package."""

    def __init__(self, rounded: tuple[_Rounded, ...]) -> None:
        self._rounded = rounded

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is, is known only when it is collected."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        by_family: dict[Family, list[_Rounded]] = {}
        for sample, value in self._rounded:
            by_family.setdefault(sample.family, []).append((sample, value))
        for family, rounded in by_family.items():
            yield _metric(family, rounded)


def _metric(family: Family, rounded: list[_Rounded]) -> Metric:
    labels = [family.label] if family.label else []
    match family.kind:
        case Kind.INFO:
            info = InfoMetricFamily(family.name, family.help)
            for sample, _ in rounded:
                info.add_metric([], dict(sample.labels))
            return info
        case Kind.COUNTER:
            counter = CounterMetricFamily(family.name, family.help, labels=labels)
            for sample, value in rounded:
                counter.add_metric(list(sample.labels.values()), value)
            return counter
        case Kind.GAUGE:
            gauge = GaugeMetricFamily(family.name, family.help, labels=labels)
            for sample, value in rounded:
                gauge.add_metric(list(sample.labels.values()), value)
            return gauge
