"""Where a call comes from, through the proxies that we trust and no others."""

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from django.conf import settings

Address = IPv4Address | IPv6Address
# What one household or one rented machine has of IPv6: counting single addresses would count nothing.
IPV6_PREFIX_LENGTH = 64
# As proxies write them: [2001:db8::1], [2001:db8::1]:443 and 203.0.113.1:51234.
BRACKETED = re.compile(r"\[([^\[\]]+)\](?::[0-9]{1,5})?")
WITH_PORT = re.compile(r"([^:]+):[0-9]{1,5}")


def caller_address(meta: Mapping[str, Any]) -> Address | None:
    """The address of who called, from WSGI's environment; None where there is none, as on a Unix socket.

    Each proxy adds the peer that it saw on the right of X-Forwarded-For. So with TRUSTED_PROXIES of
    them in front, the caller stands at that place from the right; what is further left can be forged. A
    header that is too short, or holds something else there (`unknown`, `_hidden`, nothing), did not come
    through our proxies and is ignored. `Forwarded` (RFC 7239) and other headers are never read.
    """
    peer = parse_address(meta.get("REMOTE_ADDR", ""))
    trusted = settings.TRUSTED_PROXIES
    if trusted < 1:
        return peer
    seen = meta.get("HTTP_X_FORWARDED_FOR", "").split(",")
    if len(seen) < trusted:
        return peer
    return parse_address(seen[-trusted]) or peer


def parse_address(text: str) -> Address | None:
    """The address that the text is, with or without a port; None where it is none.

    An IPv4-mapped IPv6 address becomes the IPv4 address, and a zone (`%eth0`) is left out.
    """
    text = text.strip()
    if found := BRACKETED.fullmatch(text) or WITH_PORT.fullmatch(text):
        text = found[1]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def network_of(address: Address | None) -> str:
    """The network whose calls are counted together: an IPv4 address, the /64 of an IPv6 one, `unknown` for none."""
    if address is None:
        return "unknown"
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address), IPV6_PREFIX_LENGTH), strict=False))
    return str(address)


def is_within(address: Address | None, networks: list[str]) -> bool:
    """Whether the address lies in one of the networks (CIDR). Text that is no network contains no address."""
    return address is not None and any(_contains(network, address) for network in networks)


def _contains(network: str, address: Address) -> bool:
    try:
        return address in ip_network(network, strict=False)
    except ValueError:
        return False
