"""Addresses that no step may call, and those that an operator opens."""

import pytest

from workflow_engine.egress import Egress, forbidden_host, parse_allowed
from workflow_engine.errors import SettingsInvalid
from workflow_engine.settings import load_settings


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


NOT_PUBLIC = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1",
    "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:10.0.0.1", "::10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::808:808", "2001::1", "2001:db8::1",
    "2002:7f00:1::", "2002:808:808::", "3fff::1", "fc00::1", "fd12::1", "fec0::1", "100::1", "5f00::1",
]  # fmt: skip
SURROUNDINGS = ["169.254.169.254", "64:ff9b::a9fe:a9fe", "fe80::1%2", "168.63.129.16", "224.0.0.1", "fd00:ec2::254"]
PUBLIC = ["8.8.8.8", "172.32.0.1", "2001:4860:4860::8888", "64:ff9b::808:808", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_where_egress_is_guarded_no_private_or_reserved_address_is_called(address: str) -> None:
    assert Egress(guarded=True).refusal("example.com", 443, [address])
    assert Egress().refusal("example.com", 443, [address]) is None


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_called_on_the_port_of_https(address: str) -> None:
    assert Egress(guarded=True).refusal("example.com", 443, [address]) is None
    assert "443 only" in str(Egress(guarded=True).refusal("example.com", 80, [address]))
    assert Egress(guarded=True, allowed=parse_allowed("*:80")).refusal("example.com", 80, [address]) is None


@pytest.mark.parametrize("address", SURROUNDINGS)
def test_nothing_opens_the_surroundings_of_the_machine(address: str) -> None:
    for egress in (Egress(), Egress(guarded=True, allowed=parse_allowed("evil.example,0.0.0.0/0,::/0,*:443"))):
        assert "surroundings" in str(egress.refusal("evil.example", 443, [address]))


@pytest.mark.parametrize("addresses", [["8.8.8.8", "10.0.0.1"], ["::1", "8.8.8.8"], ["2001:4860::1", "fd00::1"]])
def test_one_private_address_closes_a_name(addresses: list[str]) -> None:
    assert Egress(guarded=True).refusal("both.example", 443, addresses)


@pytest.mark.parametrize(
    ("entry", "host", "port", "address", "is_open"),
    [
        ("billing.internal", "billing.internal", 8080, "10.0.0.1", True),
        ("Billing.Internal", "BILLING.internal.", 443, "10.0.0.1", True),
        ("billing.internal", "a.billing.internal", 443, "10.0.0.1", False),
        ("billing.internal:8080", "billing.internal", 8080, "10.0.0.1", True),
        ("billing.internal:8080", "billing.internal", 443, "10.0.0.1", False),
        (".internal", "a.b.internal", 80, "10.0.0.1", True),
        ("*.internal", "a.internal", 80, "10.0.0.1", True),
        (".internal", "internal", 443, "10.0.0.1", False),
        (".internal", "notinternal", 443, "10.0.0.1", False),
        ("10.0.0.0/8", "anything", 9000, "10.9.9.9", True),
        ("10.0.0.0/8:443", "anything", 9000, "10.9.9.9", False),
        ("10.0.0.0/8", "anything", 443, "192.168.0.1", False),
        ("10.0.0.0/8", "anything", 443, "::ffff:10.0.0.1", True),
        ("10.0.0.7", "anything", 443, "10.0.0.7", True),
        ("fd00::/8", "anything", 443, "fd00::7", True),
        ("[fd00::/8]:8443", "anything", 8443, "fd00::7", True),
        ("[fd00::7]", "anything", 8443, "fd00::7", True),
        ("*:80", "anything", 80, "10.0.0.1", False),
        ("*:80", "anything", 8080, "8.8.8.8", False),
        ("münchen.example", "xn--mnchen-3ya.example", 443, "10.0.0.1", True),
        (" a.example , b.example ", "b.example", 443, "10.0.0.1", True),
    ],
)
def test_an_entry_opens_what_it_names_and_nothing_else(
    entry: str, host: str, port: int, address: str, is_open: bool
) -> None:
    refusal = Egress(guarded=True, allowed=parse_allowed(entry)).refusal(host, port, [address])
    assert (refusal is None) == is_open
    assert address not in str(refusal)


@pytest.mark.parametrize(
    "entry",
    [
        "*",
        "http://a.example",
        "10.0.0.1/8",
        "10.0.0",
        "a b",
        "a..b",
        "a.example:0",
        "a.example:99999",
        "-a",
        "[::1]x",
        "/",
    ],
)
def test_an_entry_that_says_nothing_sensible_ends_the_process_at_its_start(entry: str) -> None:
    with pytest.raises(SettingsInvalid, match="WORKFLOW_EGRESS_ALLOW"):
        load_settings(WORKFLOW_EGRESS_ALLOW=entry)


def test_egress_is_guarded_in_production_and_open_only_in_development() -> None:
    assert not load_settings().egress_policy.guarded
    assert load_settings(WORKFLOW_EGRESS="guarded").egress_policy.guarded
    assert load_settings(WORKFLOW_ENV="production", WORKFLOW_AUTH="none").egress_policy.guarded
    with pytest.raises(SettingsInvalid, match="WORKFLOW_EGRESS=open: only for WORKFLOW_ENV=development"):
        load_settings(WORKFLOW_ENV="production", WORKFLOW_AUTH="none", WORKFLOW_EGRESS="open")
