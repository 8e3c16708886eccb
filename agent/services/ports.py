"""Ports on loopback that nobody listens on at this moment."""

import contextlib
import socket

LOOPBACK = "127.0.0.1"
"""The one address that embedded services listen on."""


def free_ports(count: int) -> list[int]:
    """
    Ports that are free for TCP and UDP on loopback, all different.

    They are only free *now*: another process may take one before it is used, so a server that cannot bind
    is started again on new ones.

    Args:
        count: How many ports, 1 or more.

    Raises:
        OSError: The system has no free port left.
    """
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        while len(ports) < count:
            tcp = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            udp = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            tcp.bind((LOOPBACK, 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind((LOOPBACK, port))
            except OSError:
                continue  # taken for UDP only; the TCP socket stays held, so the next try gets another one
            ports.append(port)
    return ports


def is_listening(port: int, timeout: float = 0.5) -> bool:
    """Whether something accepts TCP connections on this loopback port; `timeout` is in seconds."""
    try:
        socket.create_connection((LOOPBACK, port), timeout).close()
    except OSError:
        return False
    return True
