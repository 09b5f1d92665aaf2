"""Finds free ports."""

from __future__ import annotations

import errno
import socket

from perdure.dev.errors import StackError

LOOPBACK = "127.0.0.1"


def free_port(host: str = LOOPBACK) -> int:
    """A port that is free at this moment."""
    with _socket_for(host) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    """Whether this process could listen on the port now."""
    try:
        with _socket_for(host) as probe:
            probe.bind((host, port))
            probe.listen(1)
    except OSError:
        return False
    return True


def claim_port(host: str, port: int) -> int:
    """The port, or any free one for 0. Raises `StackError` if it is in use or not allowed."""
    if port == 0:
        return free_port(host)
    try:
        with _socket_for(host) as probe:
            probe.bind((host, port))
            probe.listen(1)
    except OSError as error:
        raise StackError(_refusal(host, port, error)) from error
    return port


def _refusal(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} is in use by another program: stop that program, or choose another port with --port N"
            " (0 = any free one)."
        )
    if error.errno == errno.EACCES:
        return f"Port {port} needs more rights than yours: choose one above 1023 with --port N."
    return f"Nothing can listen on {host}:{port} ({error.strerror}): check PERDURE_HOST and --port."


def _socket_for(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(
        socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
    )  # as the server will: no TIME_WAIT
    return listener
