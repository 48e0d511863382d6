"""Which IP addresses are public, so that a URL or an endpoint of an untrusted caller may lead there.

The networks are listed here because `ipaddress` differs between Python 3.10 and 3.13 (100.64.0.0/10, 192.0.0.0/24,
2002::/16, 3fff::/20 ...); its own judgement counts in addition. Sources: IANA's registries of special-purpose
addresses for IPv4 and IPv6, RFC 6890.
"""

from __future__ import annotations

import ipaddress

_FORBIDDEN_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this network, unspecified
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by carriers
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # Azure's host agent, at a public number
            "169.254.0.0/16",  # link-local: 169.254.169.254 has a cloud's credentials
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
# Outside of it: loopback, link-local, site-local (fec0::/10), unique local and multicast addresses, and IPv4 addresses
# that are compatible (::/96), mapped (::ffff:0:0/96), translated (::ffff:0:0:0/96), or of NAT64 (64:ff9b::/96,
# 64:ff9b:1::/48).
_GLOBAL_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
_FORBIDDEN_V6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo (2001::/32), benchmarking (2001:2::/48), ORCHID
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: 2002:a9fe:a9fe:: is 169.254.169.254
            "3fff::/20",  # documentation
        ),
    )
)
_ISATAP_MASK, _ISATAP = 0xFCFF_FFFF, 0x0000_5EFE  # of the interface identifier's upper half; an IPv4 address follows


def is_public(address: str) -> bool:
    """Return True for a globally routable unicast address that has no IPv4 address inside.

    Anything that is not an IP address, or that names an interface (`fe80::1%eth0`), is not public.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return _is_plainly_global(parsed) and not any(parsed in network for network in _FORBIDDEN_V4)
    is_isatap = int(parsed) >> 32 & _ISATAP_MASK == _ISATAP
    return (
        parsed in _GLOBAL_UNICAST_V6
        and parsed.scope_id is None
        and not is_isatap
        and _is_plainly_global(parsed)
        and not any(parsed in network for network in _FORBIDDEN_V6)
    )


def _is_plainly_global(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Return True if `ipaddress` of this Python has no objection either."""
    return address.is_global and not (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )
