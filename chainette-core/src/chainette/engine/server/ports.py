"""Ports of this machine, and the programs that listen on them."""

from __future__ import annotations

import socket
import sys
from typing import Any

_chosen_ports: set[int] = set()


def _bind(port: int) -> int:
    """Bind a loopback port for a moment (0: any free one) and return its number."""
    with socket.socket() as probe:
        if sys.platform != "win32":  # there it would let us bind a port that is in use
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return int(probe.getsockname()[1])


def free_port() -> int:
    """A free loopback port that this process has not handed out before."""
    while (port := _bind(0)) in _chosen_ports:
        pass  # another server of this process has it and may not listen yet
    _chosen_ports.add(port)
    return port


def is_free(port: int) -> bool:
    """Whether no program listens on a port of this machine.

    Args:
        port: Number of the port.
    """
    try:
        _bind(port)
    except OSError:
        return False
    return True


def listener(port: int) -> str:
    """The program that listens on a port of this machine, in words.

    Args:
        port: Number of the port.

    Returns:
        Its name and process, such as `nginx, process 123`; empty where the system does not tell,
        as for the programs of other users.
    """
    import psutil

    try:
        for each in psutil.net_connections("tcp"):
            address: Any = each.laddr
            if each.status == psutil.CONN_LISTEN and address.port == port and each.pid:
                return f"{psutil.Process(each.pid).name()}, process {each.pid}"
    except (psutil.Error, OSError):
        pass
    return ""
