"""Which addresses webhooks may be sent to: the public internet, and networks that the operator allows.

The caller chooses the address, and our servers send to it from inside a network that the caller cannot reach (SSRF).
So a URL is accepted only in forms that every parser reads alike, and each address that its name resolves to is checked
before anything is sent to it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import SplitResult, urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_WEBHOOK_URL = 2_048
"""Characters."""
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PORTS = range(1, 65_536)
_HOST_CHARACTERS = 253

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_AMBIGUOUS = re.compile(r"[\\^`{|}<>\"]")
_AUTHORITY = re.compile(
    r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?P<colon>:(?P<port>[0-9]{1,5}))?"
)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

_PUBLIC_IPV6 = IPv6Network("2000::/3")
_REFUSED: tuple[tuple[Network, str], ...] = tuple(
    (ipaddress.ip_network(network), what)
    for network, what in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "private (shared by a carrier)"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's own service"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved for documentation"),
        ("192.88.99.0/24", "reserved (6to4)"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "reserved for benchmarks"),
        ("198.51.100.0/24", "reserved for documentation"),
        ("203.0.113.0/24", "reserved for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "an IPv4 address in IPv6 form"),
        ("::/96", "an IPv4 address in IPv6 form"),
        ("64:ff9b::/96", "an IPv4 address in IPv6 form (NAT64)"),
        ("64:ff9b:1::/48", "an IPv4 address in IPv6 form (NAT64)"),
        ("2001::/32", "an IPv4 address in IPv6 form (Teredo)"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "reserved for documentation"),
        ("2002::/16", "an IPv4 address in IPv6 form (6to4)"),
        ("3fff::/20", "reserved for documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
    )
)
"""Listed here, because what `ipaddress` calls global differs between versions of Python."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A parsed webhook URL. `host` is a lower-case name, or the text of `literal`."""

    scheme: str
    host: str
    port: int
    target: str
    """Path and query."""
    literal: Address | None

    @property
    def authority(self) -> str:
        """The value of the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def url_at(self, address: Address) -> str:
        """The same URL with an address instead of the name."""
        host = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004 - IPv6
        return f"{self.scheme}://{host}:{self.port}{self.target}"


@dataclass(frozen=True, slots=True)
class AddressRules:
    """Decides which addresses may be sent to. `allowed` networks may be reached although they are not public."""

    allowed: tuple[Network, ...] = ()

    @classmethod
    def of(cls, networks: Iterable[str]) -> AddressRules:
        """Build the rules from networks in CIDR form. Raises `ValueError` for an invalid one."""
        return cls(tuple(ipaddress.ip_network(network.strip()) for network in networks))

    def admit(self, url: str) -> Endpoint:
        """Parse a URL and reject what can be rejected before its name is resolved. Raises `ValueError` with the reason."""
        endpoint = read_endpoint(url)
        if endpoint.literal is not None:
            self.check(endpoint, endpoint.literal)
        elif endpoint.scheme == "http" and not self.allowed:
            raise ValueError(_HTTPS_ONLY)
        elif _is_local_name(endpoint.host) and not self.allowed:
            raise ValueError(f"{endpoint.host} is a name of the server's own machine or network")
        return endpoint

    def check(self, endpoint: Endpoint, address: Address) -> None:
        """Raises `ValueError` with the reason if nothing may be sent to this address of the endpoint."""
        if any(address in network for network in self.allowed):
            return
        if (reason := _refusal(address)) is not None:
            raise ValueError(f"{address} is {reason}; webhooks go to public addresses")
        if endpoint.scheme == "http":
            raise ValueError(_HTTPS_ONLY)


_HTTPS_ONLY = "webhooks go to https addresses"


def _refusal(address: Address) -> str | None:
    for network, reason in _REFUSED:
        if address in network:
            return reason
    if isinstance(address, IPv6Address) and address not in _PUBLIC_IPV6:
        return "not public"
    return None


def _is_local_name(host: str) -> bool:
    name = host.rstrip(".")
    return name == "localhost" or name.endswith((".localhost", ".local", ".internal"))


def read_endpoint(url: str) -> Endpoint:
    """Parse a webhook's URL. Raises `ValueError` for every form that two parsers could read differently."""
    if len(url) > MAX_WEBHOOK_URL:
        raise ValueError(f"the URL may have {MAX_WEBHOOK_URL} characters")
    if not _VISIBLE.fullmatch(url) or _AMBIGUOUS.search(url):
        raise ValueError("the URL must be plain ASCII: encode other characters (%20, xn--…)")
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not url.lower().startswith(f"{parts.scheme}://"):
        raise ValueError("the URL must begin with https://")
    if "@" in parts.netloc:
        raise ValueError("the URL must not carry a user or password: requests are signed instead")
    if "#" in url:
        raise ValueError("the URL must not have a fragment (#…)")
    return _endpoint(parts)


def _endpoint(parts: SplitResult) -> Endpoint:
    found = _AUTHORITY.fullmatch(parts.netloc)
    if found is None:
        raise ValueError("the URL's host must be a name or an address, its port a number")
    port = int(found["port"]) if found["colon"] else _DEFAULT_PORTS[parts.scheme]
    if port not in _PORTS:
        raise ValueError("the URL's port must be 1 to 65535")
    host, literal = _host(found["host"].lower())
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    return Endpoint(scheme=parts.scheme, host=host, port=port, target=target, literal=literal)


def _host(text: str) -> tuple[str, Address | None]:
    """The host, and its address where it is a literal one. Numbers in any but the usual form are rejected."""
    if text.startswith("["):
        address: Address = _parsed(IPv6Address, text[1:-1])
        return str(address), address
    name = text.removesuffix(".")
    labels = name.split(".")
    if len(name) > _HOST_CHARACTERS or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("the URL's host is not a valid name")
    if _NUMBER.fullmatch(labels[-1]):
        address = _parsed(IPv4Address, name)
        return str(address), address
    return name, None


def _parsed(kind: type[IPv4Address | IPv6Address], text: str) -> Address:
    try:
        return kind(text)
    except ValueError as error:
        raise ValueError(
            "the URL's host is a number, but not an address in the usual form"
        ) from error
