"""Where ``http_request`` may connect to: the public internet, and what ``STEPWELL_HTTP_ALLOW`` adds.

Definitions and their input may come from people who must not reach what the worker can reach: its own machine, the
network around it, a cloud's metadata service. So a host is resolved once, each of its addresses is judged, and the
caller connects to these very addresses: a second lookup might give others (DNS rebinding).

An address is judged by what routers do with it, from the IANA registries of special-purpose addresses
(https://www.iana.org/assignments/iana-ipv4-special-registry, …-ipv6-special-registry), not by
``ipaddress.is_private``, whose answers differ between versions of Python. IPv6 forms that carry an IPv4 address are
judged by that one. Of IPv6, only what is handed out to the internet (2000::/3) passes at all.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from stepwell.errors import StepwellError

ALLOW: Final = "STEPWELL_HTTP_ALLOW"

Address = IPv4Address | IPv6Address

_V4: Final = [
    (IPv4Network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared (carrier-grade NAT)"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "host-agent"),  # public, but on Azure it is the machine's own host
        ("169.254.0.0/16", "link-local"),  # clouds serve a machine's credentials at 169.254.169.254
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "special-purpose"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
]
_V6: Final = [
    (IPv6Network(network), kind)
    for network, kind in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("64:ff9b:1::/48", "private (local NAT64)"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private (site-local)"),
        ("ff00::/8", "multicast"),
        ("2001::/32", "Teredo"),
        ("2001::/23", "special-purpose"),
        ("2001:db8::/32", "documentation"),
        ("3fff::/20", "documentation"),
    )
]
_GLOBAL_V6: Final = IPv6Network("2000::/3")
# Forms that carry an IPv4 address, and how many bits to the right of it there are.
_CARRIERS: Final = (
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped: the sockets of this machine connect to the IPv4 address
    (IPv6Network("::/96"), 0),  # IPv4-compatible
    (IPv6Network("::ffff:0:0:0/96"), 0),  # IPv4-translated (SIIT)
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (IPv6Network("2002::/16"), 80),  # 6to4
)
_HOST: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


class AddressRefusedError(StepwellError):
    """A host, or an address that it resolves to, is not one that steps may connect to.

    Args:
        host: The host of the URL.
        address: The address that was refused.
    """

    retryable = False

    def __init__(self, message: str, *, host: str, address: str, place: str = "", remedy: str = "") -> None:
        self.host = host
        self.address = address
        super().__init__(message, place=place, remedy=remedy)


class AllowListError(StepwellError):
    """``STEPWELL_HTTP_ALLOW`` cannot be read."""

    retryable = False


class UnknownHostError(StepwellError, ConnectionError):
    """A host's name has no address, at least for now.

    Args:
        host: The name.
    """

    retryable = True

    def __init__(self, message: str, *, host: str, place: str = "") -> None:
        self.host = host
        super().__init__(message, place=place)


class AllowList:
    """The hosts and networks that are allowed besides the public internet.

    Args:
        text: Host names and networks, separated by commas, such as ``localhost,10.0.0.0/8``. A host is allowed
            with whatever it resolves to.

    Raises:
        AllowListError: An entry is neither.
    """

    def __init__(self, text: str) -> None:
        self._hosts: set[str] = set()
        self._networks: list[IPv4Network | IPv6Network] = []
        for entry in filter(None, (part.strip().lower() for part in text.split(","))):
            try:
                self._networks.append(ip_network(entry.strip("[]"), strict=False))
            except ValueError as error:
                host = entry.removesuffix(".")
                # What ends in digits is an address to resolvers, so it would allow none under that name.
                if not _HOST.fullmatch(host) or host.rpartition(".")[2].isdigit():
                    raise AllowListError(
                        f'"{entry}" is neither a host nor a network',
                        place=ALLOW,
                        remedy="List hosts without scheme and port, and networks, as in localhost,10.0.0.0/8.",
                    ) from error
                self._hosts.add(host)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> AllowList:
        """The list in ``STEPWELL_HTTP_ALLOW``; empty without it."""
        return cls(environment.get(ALLOW, ""))

    async def addresses(self, host: str, port: int, place: str = "") -> list[str]:
        """Resolve a host, once, and check each of its addresses.

        Args:
            host: A name in ASCII, or an address without brackets.
            port: The port to connect to.
            place: What is asked for, for errors.

        Returns:
            The addresses, as the system prefers them.

        Raises:
            AddressRefusedError: Any of them is not allowed.
            UnknownHostError: There is none.
        """
        try:
            found = [host] if _literal(host) else await lookup(host, port)
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no host name"
            raise UnknownHostError(f'the host "{host}" has no address: {reason}', host=host, place=place) from error
        if host.lower().removesuffix(".") not in self._hosts:
            for address in found:
                self._check(host, address, place)
        return found

    def _check(self, host: str, text: str, place: str) -> None:
        address = ip_address(text)
        why = refusal(address)
        if why is None or any(candidate in network for candidate in _forms(address) for network in self._networks):
            return
        # A number such as 127.1 is no name that the list takes: it would be one of many ways to write the address.
        allow = text if host.rpartition(".")[2].isdigit() else host
        name = f'"{host}" is {text}, ' if host != text else f"{text} is "
        raise AddressRefusedError(
            f"{name}{'an' if why[0] in 'aeiou' else 'a'} {why} address, which steps may not connect to",
            host=host,
            address=text,
            place=place,
            remedy=f"If they shall, start the worker with {ALLOW}={allow} (hosts or networks, separated by commas).",
        )


async def lookup(host: str, port: int) -> list[str]:
    """Ask the system's resolver for a host's addresses.

    Raises:
        OSError: It knows none.
    """
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


def refusal(address: Address) -> str | None:
    """What kind of address this is, if it is none of the public internet; else None."""
    if isinstance(address, IPv4Address):
        return next((kind for network, kind in _V4 if address in network), None)
    kind = next((kind for network, kind in _V6 if address in network), None)
    if kind is not None:
        return kind
    carried = _carried(address)
    if carried is not None:
        return refusal(carried)
    if address not in _GLOBAL_V6:
        return "reserved"
    # ISATAP (RFC 5214): any prefix, with an IPv4 address in the interface's part.
    if (int(address) >> 32) & 0xFCFFFFFF == 0x00005EFE:
        return refusal(IPv4Address(int(address) & 0xFFFFFFFF))
    return None


def _carried(address: IPv6Address) -> IPv4Address | None:
    for network, shift in _CARRIERS:
        if address in network:
            return IPv4Address((int(address) >> shift) & 0xFFFFFFFF)
    return None


def _forms(address: Address) -> list[Address]:
    """An address, and the IPv4 address that it carries: an allowed network may name either."""
    carried = _carried(address) if isinstance(address, IPv6Address) else None
    return [address] if carried is None else [address, carried]


def _literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
