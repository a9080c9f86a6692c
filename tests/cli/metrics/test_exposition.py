"""The text that Prometheus reads."""

from __future__ import annotations

from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from onionshh.cli.metrics import families
from onionshh.cli.metrics.exposition import CONTENT_TYPE, text
from onionshh.cli.metrics.families import Sample, each, one
from onionshh.cli.metrics.samples import of_process
from tests.cli.metrics.exposed import rounding


def test_each_kind_is_written_as_prometheus_has_it() -> None:
    info = Sample(families.BUILD, 1, {"kind": "relay", "version": "0.1.0"})
    samples = [info, one(families.GUARDS_UP, 2), *each(families.DROP, {"memory": 1, "link-idle": 8})]
    assert text(samples, rounding()).decode().splitlines() == [
        "# HELP onionshh_build_info The program, its version and the cipher that it uses.",
        "# TYPE onionshh_build_info gauge",
        'onionshh_build_info{kind="relay",version="0.1.0"} 1.0',
        "# HELP onionshh_guards_up Guards with an open link.",
        "# TYPE onionshh_guards_up gauge",
        "onionshh_guards_up 2.0",
        "# HELP onionshh_drops_total What was dropped, refused or ended, by the name of the reason.",
        "# TYPE onionshh_drops_total counter",
        'onionshh_drops_total{reason="memory"} 8.0',
        'onionshh_drops_total{reason="link-idle"} 8.0',
    ]
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"


def test_a_family_whose_samples_lie_apart_is_written_once() -> None:
    apart = [
        one(families.UPTIME, 60),
        *each(families.LINK, {"relay": 8}),
        *each(families.LINK, {"client": 8}),
    ]
    (_, links) = text_string_to_metric_families(text(apart, rounding()).decode())
    assert [sample.labels["kind"] for sample in links.samples] == ["relay", "client"]


def test_nothing_is_there_that_we_did_not_put_there() -> None:
    found = {
        family.name
        for family in text_string_to_metric_families(text(of_process("host", 1, 0), rounding()).decode())
    }
    assert found == {"onionshh_build_info", "onionshh_uptime_seconds", "onionshh_event_loop_lag_seconds"}
    assert not any(family.name.startswith("onionshh") for family in REGISTRY.collect())
    assert text((), rounding()) == b""
