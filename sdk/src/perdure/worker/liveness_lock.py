"""Detects dead function workers on this machine: each worker holds a lock on its own file while its process lives.

The kernel releases the lock exactly when the process ends; a suspended worker keeps it. Without such locks (Windows)
or a folder for them, no dead workers are detected.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import stat
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

from perdure.file_lock import SUPPORTED, LockedFile, claim

logger = logging.getLogger("perdure")

_SUFFIX = ".machine"
_RETENTION_SECONDS = 7 * 24 * 3600
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def lock_folder() -> Path | None:
    """The folder of this user's locks; None if the system has no locks, or another user created the folder."""
    if sys.platform == "win32":
        return None
    folder = Path(tempfile.gettempdir()) / f"perdure-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return None
    ours = (
        status.st_uid == os.getuid() and stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    )
    return folder if ours else None


def peer_group(url: str, key_digest: str) -> str:
    """Names the group of workers that report each other as dead: those of the same API and key, under the same kernel."""
    try:
        kernel = _BOOT_ID.read_text().strip()
    except OSError:  # not Linux
        kernel = platform.node()
    return hashlib.sha256(f"{kernel} {url} {key_digest}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class OrphanedWorker:
    """A dead function worker, claimed by this process."""

    id: str
    path: Path

    def remove(self) -> None:
        """Remove the file after the server was notified."""
        self.path.unlink(missing_ok=True)


class LivenessLock:
    """This process's own lock, and checks of its peers' locks."""

    def __init__(self, folder: Path | None, peers: str, machine_id: str) -> None:
        self._folder = folder if SUPPORTED else None
        self._peers = peers
        self._machine_id = machine_id
        self._file: LockedFile | None = None

    def hold(self) -> None:
        """Until `release`, or the process's end. Without it, which is only logged, a dead worker is missed later."""
        if self._folder is None or self._file is not None:
            return
        name = f"{self._peers}-{token_hex(8)}"
        try:
            self._file = LockedFile.create(self._folder, name, _SUFFIX, self._machine_id.encode())
            _remove_expired(self._folder)
        except OSError as error:
            logger.debug("the liveness lock of this worker cannot be created: %s", error)

    def release(self) -> None:
        """Release the lock on a clean exit."""
        if self._file is not None:
            self._file.remove()
            self._file = None

    @contextmanager
    def orphans(self) -> Generator[list[OrphanedWorker]]:
        """Claim the dead peers while the body runs."""
        with ExitStack() as claims:
            yield [] if self._folder is None else _claim(self._folder, self._peers, claims)


def _remove_expired(folder: Path) -> None:
    """Remove the files of workers whose group did not come back."""
    with ExitStack() as claims:
        for machine in _claim(folder, "*", claims):
            if machine.path.stat().st_mtime < datetime.now(UTC).timestamp() - _RETENTION_SECONDS:
                machine.remove()


def _claim(folder: Path, peers: str, claims: ExitStack) -> list[OrphanedWorker]:
    """The workers of these peers that are dead; no other process claims them until `claims` is closed."""
    found: list[OrphanedWorker] = []
    for path in folder.glob(f"{peers}-*{_SUFFIX}"):
        file = claims.enter_context(claim(path))
        if file is not None:
            found.append(OrphanedWorker(os.read(file, 1024).decode(errors="replace"), path))
    return found
