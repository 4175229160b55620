"""Networks that a key may be used from: how people write them, and the one form that is stored."""

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from accounts.keys.lines import WrongLine, read_each, shown


class NotANetwork(WrongLine):
    """The text is neither an address nor a network. The message says what to write instead."""


def parse(text: str) -> str:
    """The network in CIDR form: `203.0.113.7` becomes `203.0.113.7/32`, IPv6 its shortest spelling.

    Raises:
        NotANetwork: it cannot be read, or it is an address within the network that it names.
    """
    text = text.strip()
    try:
        # The zone of an address (fe80::1%eth0) means something on one machine only.
        network = ip_network(text.replace("%", "no zone"), strict=False)
    except ValueError:
        raise NotANetwork(
            f"“{shown(text)}” is no address and no network. "
            "Write one like 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32."
        ) from None
    address = text.partition("/")[0]
    if ip_address(address) != network.network_address:
        raise NotANetwork(
            f"“{shown(text)}” is an address within {network}. "
            f"Write {network} for the whole network, or {address} for this address alone."
        )
    return str(_as_seen(network))


def _as_seen(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """An IPv4-mapped IPv6 network as the IPv4 network that it is: requests from it come as IPv4."""
    address = network.network_address
    if isinstance(address, IPv6Address) and address.ipv4_mapped and network.prefixlen >= 96:  # noqa: PLR2004 - ::ffff:0:0/96
        return IPv4Network((address.ipv4_mapped, network.prefixlen - 96))
    return network


def parse_lines(text: str) -> tuple[list[str], list[str]]:
    """(networks, what is wrong): one network a line, each once; each wrong line by its number."""
    networks, problems = read_each(text, parse)
    return list(dict.fromkeys(networks)), problems
