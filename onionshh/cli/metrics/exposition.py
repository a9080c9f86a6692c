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

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
"""Every version of Prometheus takes this one."""


def text(samples: Iterable[Sample]) -> bytes:
    """The samples, each family once, in the order in which they first came."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(tuple(samples)))
    return generate_latest(registry)


class _Once(Collector):
    """Gives these samples as families of the package."""

    def __init__(self, samples: tuple[Sample, ...]) -> None:
        self._samples = samples

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is, is known only when it is collected."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        by_family: dict[Family, list[Sample]] = {}
        for sample in self._samples:
            by_family.setdefault(sample.family, []).append(sample)
        for family, samples in by_family.items():
            yield _metric(family, samples)


def _metric(family: Family, samples: list[Sample]) -> Metric:
    labels = [family.label] if family.label else []
    match family.kind:
        case Kind.INFO:
            info = InfoMetricFamily(family.name, family.help)
            for sample in samples:
                info.add_metric([], dict(sample.labels))
            return info
        case Kind.COUNTER:
            counter = CounterMetricFamily(family.name, family.help, labels=labels)
            for sample in samples:
                counter.add_metric(list(sample.labels.values()), family.shown(sample.value))
            return counter
        case Kind.GAUGE:
            gauge = GaugeMetricFamily(family.name, family.help, labels=labels)
            for sample in samples:
                gauge.add_metric(list(sample.labels.values()), family.shown(sample.value))
            return gauge
