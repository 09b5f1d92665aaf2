"""How a server's process begins and ends: its exit codes, and that Temporal's threads do not hang it up."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from orchestrator.runtime.process import MisconfiguredError
from orchestrator.settings import read_settings

_ENDING = """
import atexit, sys
from orchestrator.runtime.process import MisconfiguredError, run_to_the_end
atexit.register(print, "said at exit")
def main(): {main}
run_to_the_end(main)
"""
_WITH_REQUESTS_UNDER_WAY = """
import asyncio, sys
from datetime import timedelta
from orchestrator.runtime.process import run_to_the_end
from orchestrator.settings import Settings
from orchestrator.temporal.client import connect
async def main():
    client = await connect(Settings(temporal_address=sys.argv[1]), lazy=True)
    health = client.service_client.check_health
    asked = [asyncio.create_task(health(timeout=timedelta(milliseconds=n))) for n in range(50, 550, 2)]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    for each in asked: each.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
run_to_the_end(lambda: asyncio.run(main()))
"""


def _end(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(
    ("main", "code", "said"),
    [
        ("pass", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("raise RuntimeError('broken')", 1, "RuntimeError: broken"),
        ("raise MisconfiguredError('PERDURE_X is wrong')", 78, "error: PERDURE_X is wrong\n"),
    ],
)
def test_the_exit_code_says_why(main: str, code: int, said: str) -> None:
    done = _end(_ENDING.format(main=main))
    assert done.returncode == code
    assert said in done.stderr
    assert done.stdout == "said at exit\n"


@pytest.mark.usefixtures("processes")
def test_requests_at_temporal_that_are_under_way_do_not_keep_a_process_from_ending() -> None:
    """Without `run_to_the_end` the fifth of such processes hung for ever."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        done = _end(_WITH_REQUESTS_UNDER_WAY, f"127.0.0.1:{silent.getsockname()[1]}")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_setting_that_cannot_be_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERDURE_PORT", "99999")
    monkeypatch.setenv("PERDURE_LOG_LEVEL", "loud")
    with pytest.raises(MisconfiguredError) as raised:
        read_settings()
    assert "PERDURE_PORT: Input should be less than or equal to 65535" in str(raised.value)
    assert "PERDURE_LOG_LEVEL: " in str(raised.value)
