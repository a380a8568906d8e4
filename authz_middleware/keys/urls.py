"""Which URLs documents are fetched from: https, or http on this machine, and never a machine's own metadata service.

Sources: RFC 8414 section 3 (TLS), RFC 3927 and RFC 4291 section 2.5.6 (link-local addresses).
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

__all__ = ["check_url", "host_of", "is_forbidden_address", "is_loopback"]

METADATA_ADDRESSES = frozenset(
    map(
        ipaddress.ip_address,
        ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::23", "fd00:ec2::254", "fd20:ce::254"),
    )
)
"""Where cloud providers answer a machine's questions about itself, outside the link-local ranges."""
EMBEDDING = tuple(map(ipaddress.IPv6Network, ("::/96", "64:ff9b::/96")))
"""Where the last four bytes of an IPv6 address are an IPv4 address (RFC 4291 section 2.5.5.1, RFC 6052 section 2.1)."""
METADATA_HOSTS = frozenset({"metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"})

_NUMBER = re.compile(r"\d+|0[xX][0-9a-fA-F]*", re.ASCII)


def check_url(url: str, what: str) -> list[str]:
    """Return the faults of a URL that documents are fetched from: empty, or sentences that say what to write."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # a port that is none raises here, not at the first fetch
    except ValueError:
        return [f"{what} is no URL; write an https URL"]
    if not host or parts.scheme not in {"https", "http"}:
        return [f"{what} is no https URL; write it with https:// and a host"]
    faults = []
    if parts.scheme == "http" and not is_loopback(host):
        faults.append(f"{what} must use https; http is for loopback addresses only")
    if _is_odd_number(host):
        faults.append(f"{what} has an IP address in an unusual form; write four decimal numbers, or the host's name")
    if is_forbidden_address(host) or host.rstrip(".").lower() in METADATA_HOSTS:
        faults.append(f"{what} is a link-local or cloud metadata address; write the authorization server's own host")
    if parts.username is not None or "#" in url:
        faults.append(f"{what} must not contain credentials or a fragment")
    if _has_odd_characters(url):
        faults.append(f"{what} contains spaces, backslashes, control or non-ASCII characters; percent-encode them")
    return faults


def host_of(url: str) -> str:
    """Return a checked URL's host, lower-case, with its port where that is not the scheme's own."""
    parts = urlsplit(url)
    usual = {"https": 443, "http": 80}[parts.scheme]
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host  # an IPv6 address, which would swallow the port
    return host if parts.port in {None, usual} else f"{host}:{parts.port}"


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, by its name or address alone."""
    address = _address(host)
    mapped = getattr(address, "ipv4_mapped", None) or address  # which not every Python looks at by itself
    return host == "localhost" if mapped is None else mapped.is_loopback


def is_forbidden_address(host: str) -> bool:
    """Tell whether a host is an address that no authorization server has: link-local, or of a metadata service."""
    address = _address(host)
    if address is None:
        return False
    return any(
        found.is_link_local or found in METADATA_ADDRESSES
        for found in (address, _embedded(address))
        if found is not None
    )


def _embedded(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to: mapped, compatible, NAT64 or 6to4."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    has_one = any(address in network for network in EMBEDDING)
    return address.ipv4_mapped or address.sixtofour or (ipaddress.IPv4Address(address.packed[-4:]) if has_one else None)


def _is_odd_number(host: str) -> bool:
    """Tell whether a host is a number that some resolvers take for an IPv4 address: 127.1, 0x7f000001, 2130706433."""
    return _address(host) is None and _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]) is not None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0] if ":" in host else host)  # without the zone, in IPv6
    except ValueError:
        return None


def _has_odd_characters(url: str) -> bool:
    return not url.isascii() or not url.isprintable() or " " in url or "\\" in url  # parsers disagree on these
