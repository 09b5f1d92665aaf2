"""A run that waits is cheap: its state is in the store, and nothing is imported anew for it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.support.temporal_server import temporal_server

ROOT = Path(__file__).parents[3]
LIMIT_KB = 200
"""Measured: 60 to 70 KB. In a sandbox that imports one third-party module per run it is 787 KB."""


@pytest.mark.usefixtures("processes")
async def test_a_waiting_run_costs_a_worker_less_than_200_kb() -> None:
    with temporal_server() as address:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.orchestrator.workflows.parked_runs", address),
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'sdk/src'}"},
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await process.communicate()
    assert process.returncode == 0
    assert 0 < float(said) < LIMIT_KB
