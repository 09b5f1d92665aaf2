"""Identifies the process of a recorded pid.

Pids are reused. A process is the same one only if its start time, counted from the same boot, is the same too.
Linux has it in `/proc/<pid>/stat`; elsewhere it is read from `ps`.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

_PROC = Path("/proc")
_START_TIME = (
    19  # field 22 of stat, counted from the state (field 3), which follows the name in brackets
)
_GONE = "ZX"  # states of a process that has ended and is not collected yet


def start_mark(pid: int) -> str | None:
    """A mark that differs for every process that ever had this pid; None if there is no such process."""
    if sys.platform.startswith("linux"):
        return _mark_from_proc(pid)
    answer = subprocess.run(  # noqa: S603 - a fixed command and a number
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or None


def _mark_from_proc(pid: int) -> str | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in _GONE else f"{boot}:{fields[_START_TIME]}"


def end_process(pid: int, mark: str, *, patience: float = 5.0) -> bool:
    """Kill the process with this pid and mark, and wait for its end. False if it had ended before.

    A later process with the same pid is never killed: the handle is opened before the mark is read, so both belong
    to one process. Raises `TimeoutError` if it outlives SIGKILL by `patience` seconds.
    """
    try:
        handle = os.pidfd_open(pid)
    except AttributeError:  # not Linux
        return _end_by_pid(pid, mark, patience)
    except OSError:
        return False
    try:
        if start_mark(pid) != mark:
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        if not select.select([handle], [], [], patience)[0]:
            raise TimeoutError(f"process {pid} outlives SIGKILL")
        return True
    finally:
        os.close(handle)


def _end_by_pid(pid: int, mark: str, patience: float) -> bool:
    if start_mark(pid) != mark:
        return False
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + patience
    while start_mark(pid) == mark:
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} outlives SIGKILL")
        select.select([], [], [], 0.02)
    return True
