"""What counts as one address."""

from __future__ import annotations

from onionshh.core.base.addresses import host_group, plain_host


def test_a_host_in_its_one_form() -> None:
    assert plain_host("fe80::1%eth0") == "fe80::1"
    assert plain_host("::ffff:10.1.2.3") == "10.1.2.3"
    assert plain_host("2600:0:0:0::1") == "2600::1"
    assert plain_host("not an address") == "not an address"


def test_a_64_is_one_address_of_version_six() -> None:
    assert host_group("2600::1") == host_group("2600::ffff") != host_group("2600:0:0:1::1")
    assert host_group("::ffff:10.1.2.3") == host_group("10.1.2.3") != host_group("10.1.2.4")
    assert host_group("not an address") == "not an address"
