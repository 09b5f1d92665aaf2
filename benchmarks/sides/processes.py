"""What processes use: processor time and memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


def cpu_ms(pid: int) -> float:
    """Processor time so far in milliseconds: of all threads, and of children, gone ones included."""
    family = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return sum(map(_own_ms, family)) + _gone_ms(pid)


def _own_ms(pid: int) -> float:
    return sum(_stat(pid)[11:13]) * _TICK_MS


def _gone_ms(pid: int) -> float:
    return sum(_stat(pid)[13:15]) * _TICK_MS


def _stat(pid: int) -> list[int]:
    """The fields from the third one on, numbers only; all zero for a process that went meanwhile."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return [0, *map(int, fields[1:])]
    return [0] * 20


def used(processes: Mapping[str, int]) -> dict[str, float]:
    """Processor milliseconds so far, by name."""
    return {name: cpu_ms(pid) for name, pid in processes.items()}


def resident_mib(pid: int) -> float:
    """Resident memory in MiB, without children."""
    return psutil.Process(pid).memory_info().rss / 1_048_576


def listening_ports(pid: int) -> Iterable[int]:
    """TCP ports on which a process listens."""
    connections = psutil.Process(pid).net_connections(kind="tcp")
    return [one.laddr.port for one in connections if one.status == psutil.CONN_LISTEN]
