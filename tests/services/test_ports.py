"""Ports that are free at this moment."""

import socket

from agent.services.ports import LOOPBACK, free_ports, is_listening


def test_ports_are_free_for_tcp_and_udp() -> None:
    """Every port handed out is different from the others and can be bound for TCP and for UDP at once."""
    ports = free_ports(20)
    assert len(set(ports)) == 20
    sockets = []
    for port in ports:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            bound = socket.socket(socket.AF_INET, kind)
            bound.bind((LOOPBACK, port))
            sockets.append(bound)
    for bound in sockets:
        bound.close()


def test_a_listener_is_seen() -> None:
    """A port counts as listening while somebody accepts connections on it, and not after."""
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        assert is_listening(port)
    assert not is_listening(port)
