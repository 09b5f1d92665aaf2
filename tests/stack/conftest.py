"""A folder in which `perdure dev` is tried."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.stack.driver import Dev


@pytest.fixture
def dev(processes: None, tmp_path: Path) -> Generator[Dev]:
    driver = Dev(tmp_path)
    yield driver
    driver.kill_all()
