"""Addresses that no step may call."""

import pytest

from workflow_engine.definition.egress import forbidden_host


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254", "169.254.169.254.", "::ffff:169.254.169.254", "2130706433", "0x7f.1", "127.1", "0177.0.0.1",
        "0x7f000001", "2852039166", "fe80::1", "fe80::1%eth0", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", 
        "::169.254.169.254",
        "168.63.129.16", "100.100.100.200", "fd00:ec2::254", "metadata.google.internal", "METADATA.google.internal.",
        "１６９.254.169.254", "224.0.0.1", "ff02::1",
    ],
)  # fmt: skip
def test_the_surroundings_of_the_machine_are_forbidden_however_they_are_written(host: str) -> None:
    assert forbidden_host(host)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "::1", "10.0.0.5", "example.com", "1.2.3.4.example", "8.8.8.8", "localhost", "a1"]
)
def test_other_hosts_may_be_tried(host: str) -> None:
    assert forbidden_host(host) is None
