"""What the fake model and the functions themselves write down: one line of JSON per thing that happened."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

LEDGER = "PERDURE_TEST_LEDGER"
"""The file in which the model notes each time it was asked."""
DIARY = "PERDURE_TEST_DIARY"
"""The file in which functions and handlers note what they do."""


def append(variable: str, **facts: object) -> None:
    """Add a line to the file that the environment names, with the time in ms and the process id.

    A short line that is appended is written whole, whoever else writes.
    """
    line = json.dumps({"at": time.time_ns() // 1_000_000, "pid": os.getpid(), **facts}) + "\n"
    descriptor = os.open(os.environ[variable], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """All lines so far; none where nobody has written."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]
