"""Ports: fixed, moving aside for others, never two processes on one."""

import socket

from deploy.local.ports import FIXED, Ports, is_free


def test_a_free_machine_keeps_the_fixed_ports():
    """Nothing moves where nothing is in the way."""
    assert Ports.near(free=lambda _: True) == Ports(FIXED, {})


def test_a_busy_port_moves_up_and_says_so():
    """The process stands on the next port that is free and that no other process wants."""
    ports = Ports.near({"a": 3232, "b": 3233}, free=lambda port: port != 3232)
    assert ports["a"] == 3234
    assert ports["b"] == 3233
    assert ports.moved == {"a": (3232, 3234)}


def test_two_processes_never_share_a_port():
    """Also when several have to move."""
    ports = Ports.near(free=lambda port: port % 2 == 0)
    assert len(set(ports.taken.values())) == len(FIXED)


def test_ports_from_counts_upwards():
    """`--ports-from` gives consecutive ports in a fixed order."""
    ports = Ports.counted_from(20000, free=lambda _: True)
    assert list(ports.taken.values()) == list(range(20000, 20000 + len(FIXED)))
    assert ports["order-api"] == 20000


def test_a_listener_makes_a_port_busy():
    """Whether it listens on loopback or everywhere."""
    for host in ("127.0.0.1", "0.0.0.0"):
        with socket.create_server((host, 0)) as listener:
            port = listener.getsockname()[1]
            assert not is_free(port)
        assert is_free(port)
