"""The whole stack, real API and workers: what was accepted is finished by the next start."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure import AsyncPerdure
from tests.stack.driver import Dev, eventually, is_alive

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("processes")]

SLOW = '[{"text": "finished after all", "delayMs": 4000}]'


async def test_a_run_that_was_open_when_everything_was_killed_is_finished_by_the_next_start(
    tmp_path: Path,
) -> None:
    dev = Dev(tmp_path, real=True)
    try:
        first = dev.start_ready()
        async with AsyncPerdure(dev.connection["url"], dev.connection["apiKey"]) as client:
            run = await client.create_run(SLOW, model="scripted/inline")
        pids = dev.pids()
        first.kill()
        first.wait()
        for pid in pids.values():
            eventually(lambda pid=pid: not is_alive(pid))
        dev.start_ready()
        async with AsyncPerdure(dev.connection["url"], dev.connection["apiKey"]) as client:
            outcome = await (await client.get_run(run.id)).poll(timeout=60)
        assert outcome.result == "finished after all"
    finally:
        dev.kill_all()
