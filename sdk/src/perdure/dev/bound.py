"""Replaces itself by the given command, which the kernel then kills together with its parent.

Run by its path, as `python -I -S bound.py PARENT_PID COMMAND…`, so that it imports nothing but the standard library
and costs some milliseconds. The request survives the `exec`. On systems without such a request (macOS) the command
runs without it, and the next start ends it by the record in the state folder.

The kernel sends the signal when the *thread* that forked ends: supervisors fork from their main thread.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def die_with(parent: int) -> None:
    """Request SIGKILL at the parent's death; exit at once if the parent is already dead."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the request was made
        sys.exit(1)


def main(arguments: list[str]) -> None:
    parent, *command = arguments
    die_with(int(parent))
    try:
        os.execvp(command[0], command)  # noqa: S606 - a shell is the last thing wanted here
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}.\n")
        sys.exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
