"""A webhook's URL is a caller's word about where our servers should send: read strictly, believed never."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, strategies as st

from orchestrator.runtime.url_policy import MAX_WEBHOOK_URL, AddressRules, Endpoint, read_endpoint

PUBLIC = AddressRules()
AT_HOME = AddressRules.of(["127.0.0.0/8", " 10.1.0.0/16 ", "::1/128"])

HOSTILE = [
    # other schemes, other readings of the same text
    *("ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "javascript:alert(1)"),
    *("//example.com/", "https:example.com", "https:/example.com", "HTTPS:\\\\example.com"),
    *("https://", "https:///path", "https://?q", "", "example.com/hook"),
    *("https://example.com\\@127.0.0.1/", "https://exa mple.com/", "https://example.com/\n"),
    *(
        "https://example.com/\x00",
        "https://example.com/é",
        "https://１２７.0.0.1/",
        "https://127。0。0。1/",
    ),
    *("https://ⓔxample.com/", "https://example.com/#fragment", "https://example.com/#"),
    # a user in front of the host
    *("https://user@example.com/", "https://user:word@example.com/", "https://@example.com/"),
    "https://example.com@127.0.0.1/",
    # ports
    *("https://example.com:0/", "https://example.com:65536/", "https://example.com:99999/"),
    *("https://example.com:/", "https://example.com:x/", "https://example.com:-1/"),
    *("https://example.com:443:80/", "https://example.com:+443/"),
    # loopback, private, link-local, metadata services
    *("https://127.0.0.1/", "https://127.255.255.254/", "https://0.0.0.0/", "https://0.1.2.3/"),
    *(
        "https://10.0.0.1/",
        "https://172.16.0.1/",
        "https://172.31.255.255/",
        "https://192.168.1.1/",
    ),
    *(
        "https://169.254.169.254/latest/meta-data/",
        "https://100.64.0.1/",
        "https://100.100.100.200/",
    ),
    *(
        "https://168.63.129.16/",
        "https://192.0.0.192/",
        "https://192.0.2.1/",
        "https://198.18.0.1/",
    ),
    *(
        "https://224.0.0.1/",
        "https://239.255.255.255/",
        "https://240.0.0.1/",
        "https://255.255.255.255/",
    ),
    *("https://127.0.0.1./", "https://localhost/", "https://LOCALHOST./", "https://a.localhost/"),
    *("https://printer.local/", "https://metadata.google.internal/"),
    # the same in other numbers
    *("https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://0177.0.0.1/"),
    *("https://017700000001/", "https://127.1/", "https://127.0.1/", "https://127.0.0.01/"),
    *(
        "https://127.0.0.1.1/",
        "https://256.0.0.1/",
        "https://1.2.3.0x4/",
        "https://0x7f000001./",
    ),
    *("https://0x/", "https://0/", "https://1.2.3/", "https://00000177.1/"),
    # the same in IPv6
    *(
        "https://[::]/",
        "https://[::1]/",
        "https://[0:0:0:0:0:0:0:1]/",
        "https://[::ffff:127.0.0.1]/",
    ),
    *("https://[::ffff:8.8.8.8]/", "https://[::ffff:7f00:1]/", "https://[::127.0.0.1]/"),
    *("https://[64:ff9b::7f00:1]/", "https://[64:ff9b::8.8.8.8]/", "https://[64:ff9b:1::a00:1]/"),
    *("https://[2002:7f00:1::]/", "https://[2001:0:7f00:1::]/", "https://[2001:db8::1]/"),
    *(
        "https://[fe80::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://[fec0::1]/",
    ),
    *("https://[fc00::1]/", "https://[fd00:ec2::254]/", "https://[ff02::1]/", "https://[100::1]/"),
    *("https://[::1/", "https://::1/", "https://[::1]x/", "https://[1::2::3]/", "https://[v1.a]/"),
    "https://[127.0.0.1]/",
    # names that are none
    *("https://-a.example/", "https://a-.example/", "https://a..example/", "https://.example/"),
    *("https://exam%70le.com/", "https://%31%32%37.0.0.1/", "https://a*b.example/", "https://a,b/"),
    *(f"https://{'a' * 64}.example/", f"https://{'a.' * 127}example/"),
    f"https://example.com/{'a' * MAX_WEBHOOK_URL}",
    # in clear
    *("http://example.com/", "http://8.8.8.8/", "http://[2606:4700::1111]/"),
]


@pytest.mark.parametrize("url", HOSTILE)
def test_hostile_addresses_are_refused_with_a_reason(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w{3}"):
        PUBLIC.admit(url)


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        (
            "https://hooks.example.com/perdure?team=sales",
            Endpoint("https", "hooks.example.com", 443, "/perdure?team=sales", None),
        ),
        ("https://Example.COM.", Endpoint("https", "example.com", 443, "/", None)),
        ("HTTPS://a_b.example:8443/x", Endpoint("https", "a_b.example", 8443, "/x", None)),
        (
            "https://xn--bcher-kva.example/",
            Endpoint("https", "xn--bcher-kva.example", 443, "/", None),
        ),
        ("https://1password.com/", Endpoint("https", "1password.com", 443, "/", None)),
        (
            "https://8.8.8.8:65535/a?b",
            Endpoint("https", "8.8.8.8", 65535, "/a?b", ipaddress.ip_address("8.8.8.8")),
        ),
        (
            "https://[2606:4700:0::1111]/",
            Endpoint("https", "2606:4700::1111", 443, "/", ipaddress.ip_address("2606:4700::1111")),
        ),
    ],
)
def test_plain_addresses_are_read_as_they_stand(url: str, endpoint: Endpoint) -> None:
    assert PUBLIC.admit(url) == endpoint


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://example.com:443/", "example.com"),
        ("https://example.com:80/", "example.com:80"),
        ("http://example.com:80/", "example.com"),
        ("https://[2606:4700::1111]:8443/", "[2606:4700::1111]:8443"),
    ],
)
def test_the_host_header_names_the_host_and_any_unusual_port(url: str, authority: str) -> None:
    assert read_endpoint(url).authority == authority


def test_the_name_gives_way_to_the_checked_address() -> None:
    endpoint = read_endpoint("https://example.com/a?b=c")
    assert endpoint.url_at(ipaddress.ip_address("8.8.8.8")) == "https://8.8.8.8:443/a?b=c"
    assert (
        endpoint.url_at(ipaddress.ip_address("2606:4700::1111"))
        == "https://[2606:4700::1111]:443/a?b=c"
    )


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/", "https://127.8.8.8/", "http://10.1.2.3/", "http://[::1]:80/"]
)
def test_an_allowed_network_may_be_reached_in_clear_too(url: str) -> None:
    assert AT_HOME.admit(url).literal is not None


@pytest.mark.parametrize(
    "url", ["https://10.2.0.1/", "http://8.8.8.8/", "https://[::ffff:127.0.0.1]/", "http://[::2]/"]
)
def test_what_is_beside_the_allowed_networks_stays_refused(url: str) -> None:
    with pytest.raises(ValueError, match="webhooks go to"):
        AT_HOME.admit(url)


def test_a_name_in_clear_waits_for_its_address_where_networks_are_allowed() -> None:
    endpoint = AT_HOME.admit("http://hooks.local/")
    AT_HOME.check(endpoint, ipaddress.ip_address("10.1.0.1"))
    with pytest.raises(ValueError, match="https"):
        AT_HOME.check(endpoint, ipaddress.ip_address("8.8.8.8"))
    with pytest.raises(ValueError, match="private"):
        AT_HOME.check(endpoint, ipaddress.ip_address("192.168.0.1"))


@pytest.mark.parametrize("network", ["10.0.0.1/8", "everything", "10.0.0.0/33", ""])
def test_networks_that_are_none_are_refused(network: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        AddressRules.of([network])


@given(st.ip_addresses())
def test_no_address_that_python_calls_special_gets_through(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """A second opinion: our list must refuse at least what the library knows of."""
    endpoint = read_endpoint("https://example.com/")
    special = not address.is_global or address.is_multicast or address.is_reserved
    mapped = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    if special or mapped:
        with pytest.raises(ValueError, match="webhooks go to public addresses"):
            PUBLIC.check(endpoint, address)


@given(
    st.ip_addresses(v=4), st.sampled_from(["plain", "integer", "hex", "octal", "short", "mapped"])
)
def test_no_writing_of_an_address_says_something_else_than_its_usual_form(
    address: ipaddress.IPv4Address, form: str
) -> None:
    number = int(address)
    first, rest = number >> 24, number & 0xFFFFFF
    host = {
        "plain": str(address),
        "integer": str(number),
        "hex": hex(number),
        "octal": f"0{number:o}",
        "short": f"{first}.{rest}",
        "mapped": f"[::ffff:{address}]",
    }[form]
    try:
        endpoint = PUBLIC.admit(f"https://{host}/")
    except ValueError:
        return
    assert form == "plain"
    assert endpoint.literal == address
    assert address.is_global


@given(st.text(max_size=40))
def test_whatever_is_written_is_read_or_refused_and_nothing_else(text: str) -> None:
    try:
        endpoint = PUBLIC.admit(f"https://{text}")
    except ValueError:
        return
    assert endpoint.scheme == "https"
    assert "@" not in endpoint.authority
    assert endpoint.target.startswith("/")
