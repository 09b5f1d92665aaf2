"""The state folder of one stack: data, logs, key, connection."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from perdure.dev.errors import StackError

MAX_LOG_BYTES = 5 * 1024 * 1024
"""Bytes of a log after which the next start of its process begins a new one. One old log is kept."""
_PRIVATE = 0o600


class LocalConnection(BaseModel):
    """The connection of clients to the stack: the file `connection.json`, and the line that `--json` prints."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    url: str
    api_key: str = Field(repr=False)
    cluster_id: str
    temporal_address: str

    def as_json(self) -> str:
        return self.model_dump_json(by_alias=True)


@dataclass(frozen=True, slots=True)
class StateFolder:
    """Names in the state folder. `path` is absolute."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> StateFolder:
        """Create the folder, accessible only to its owner, and check that it is writable. Raises `StackError`."""
        folder = cls(path.absolute())
        try:
            folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.logs.mkdir(exist_ok=True)
            probe = folder.path / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise StackError(
                f"{folder.path} cannot be written ({error.strerror}): choose another folder with"
                " --state-dir, or change the working folder."
            ) from error
        return folder

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def key_file(self) -> Path:
        return self.path / "api-key"

    @property
    def temporal_data(self) -> Path:
        return self.path / "temporal.db"

    @property
    def lock_file(self) -> Path:
        return self.path / "lock"

    @property
    def process_record(self) -> Path:
        return self.path / "processes.json"

    @property
    def connection_file(self) -> Path:
        return self.path / "connection.json"

    def log_file(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def ready_file(self, name: str) -> Path:
        return self.path / f"{name}.ready"

    def open_log(self, name: str) -> IO[bytes]:
        """Open the log of a process for appending; one that is too long is rotated first."""
        file = self.log_file(name)
        if file.exists() and file.stat().st_size > MAX_LOG_BYTES:
            file.replace(file.with_suffix(".log.1"))
        return file.open("ab")

    def log_tail(self, name: str, lines: int = 8) -> str:
        """The last lines that a process wrote; empty if it wrote nothing."""
        try:
            with self.log_file(name).open(errors="replace") as log:
                return "".join(deque(log, lines)).rstrip()
        except OSError:
            return ""

    def read_connection(self) -> LocalConnection | None:
        """The connection of the stack that last ran here."""
        try:
            return LocalConnection.model_validate_json(self.connection_file.read_bytes())
        except (OSError, ValidationError):
            return None

    def write_connection(self, connection: LocalConnection) -> None:
        write_private(self.connection_file, connection.as_json() + "\n")


def write_private(file: Path, text: str) -> None:
    """Replace a file atomically by one that only its owner can read."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
    draft.replace(file)
