"""Which of this machine's addresses and interfaces lead to another machine."""

import contextlib
import socket
import struct
import sys

__all__ = ["address_towards", "interface_towards", "is_own_address"]

SIOCGIFADDR = 0x8915  # Linux: ask for an interface's address


def address_towards(host: str, port: int) -> str | None:
    """Return the address from which this machine would talk to another one; None where it cannot.

    >>> address_towards("127.0.0.1", 80)
    '127.0.0.1'
    """
    with contextlib.suppress(OSError):
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as s:
            s.connect(address)  # of a datagram socket: looks up the route, and sends nothing
            return s.getsockname()[0]
    return None


def is_own_address(host: str) -> bool:
    """Tell whether a host is this machine: only its own addresses can be bound.

    A machine's own name need not lead there: in a container or a network namespace it often resolves to nothing useful.
    """
    with contextlib.suppress(OSError):
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as s:
            s.bind(address)
            return True
    return False


def interface_towards(host: str, port: int) -> str | None:
    """Return the name of the network interface that leads to another machine, as ``GLOO_SOCKET_IFNAME`` takes it.

    None where the system does not tell: other systems than Linux, IPv6.
    """
    address = address_towards(host, port)
    if address is None or sys.platform != "linux":
        return None
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # an interface without an address
                request = struct.pack("256s", name.encode())
                if socket.inet_ntoa(fcntl.ioctl(s.fileno(), SIOCGIFADDR, request)[20:24]) == address:
                    return name
    return None
