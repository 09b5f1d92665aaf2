"""A whole stack in separate processes, started by the command that a user types.

The end-to-end tests and those of the npm client share one per session; `tests.support.tiers` gives them to one xdist worker.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from perdure import AsyncPerdure
from tests.end_to_end.functions import DIARY
from tests.end_to_end.policies import LEDGER

REPOSITORY = Path(__file__).parents[2]


@dataclass(slots=True)
class World:
    """A running stack, a function worker, and what both wrote down."""

    url: str
    api_key: str
    cluster_id: str
    state_dir: Path
    ledger: Path
    diary: Path
    environment: dict[str, str]
    dev: subprocess.Popen[bytes]
    worker: subprocess.Popen[bytes]

    def pid(self, name: str) -> int:
        """The process id of one of the stack's processes, as it is now."""
        recorded = json.loads((self.state_dir / "processes.json").read_text())
        return next(one["pid"] for one in recorded if one["name"] == name)

    def kill(self, name: str) -> int:
        """SIGKILL one of the stack's processes; its id."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def replace_worker(self) -> None:
        """SIGKILL the function worker and start another."""
        self.worker.kill()
        self.worker.wait()
        self.worker = start_worker(self.environment)

    def stop(self) -> None:
        """End the function worker, then the stack, as a user would."""
        for process in (self.worker, self.dev):
            process.terminate()
            process.wait(60)

    def billed(self, run: str) -> list[dict[str, Any]]:
        return [line for line in read_lines(self.ledger) if line["run"] == run]

    def lines(self, run: str) -> list[dict[str, Any]]:
        return [line for line in read_lines(self.diary) if line["run"] == run]

    def diary_lines(self, kind: str, run: str) -> list[dict[str, Any]]:
        return [
            line for line in read_lines(self.diary) if line["kind"] == kind and line["run"] == run
        ]


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def start_worker(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.end_to_end.functions"]
    return subprocess.Popen(command, env=environment, cwd=REPOSITORY)


def environment_for(folder: Path) -> dict[str, str]:
    """The environment of a stack whose model and functions write down what they did."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PERDURE_")},
        LEDGER: str(folder / "ledger"),
        DIARY: str(folder / "diary"),
        "PERDURE_HOSTED_FUNCTIONS": "tests.end_to_end.hosted:service",
        "PERDURE_SCRIPTED_POLICIES": "billed=tests.end_to_end.policies:billed",
        "PYTHONPATH": str(REPOSITORY),
    }
    environment.pop("ANTHROPIC_API_KEY", None)
    return environment


def start_stack(folder: Path, environment: dict[str, str]) -> World:
    """`perdure dev` in that folder, and a function worker."""
    command = [
        *(str(Path(sys.executable).with_name("perdure")), "dev", "--json"),
        *("--port", "0", "--state-dir", str(folder / "state")),
    ]
    dev = subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert dev.stdout is not None
    with dev.stdout as output:
        facts = json.loads(output.readline())
    reach = environment | {
        "PERDURE_URL": facts["url"],
        "PERDURE_API_KEY": facts["apiKey"],
        "PERDURE_CLUSTER_ID": facts["clusterId"],
    }
    return World(
        url=facts["url"],
        api_key=facts["apiKey"],
        cluster_id=facts["clusterId"],
        state_dir=folder / "state",
        ledger=folder / "ledger",
        diary=folder / "diary",
        environment=reach,
        dev=dev,
        worker=start_worker(reach),
    )


def start_world(folder: Path) -> World:
    """A stack whose default model plays the script in the prompt."""
    environment = environment_for(folder) | {"PERDURE_DEFAULT_MODEL": "scripted/inline"}
    return start_stack(folder, environment)


@pytest.fixture(scope="session")
def world(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The shared stack."""
    made = start_world(tmp_path_factory.mktemp("world"))
    try:
        yield made
    finally:
        made.stop()


async def until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    """Wait until something is so; a test that waits in vain fails."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        await asyncio.sleep(0.02)


async def registered(client: AsyncPerdure) -> None:
    """Until the function worker has registered."""
    deadline = time.monotonic() + 30
    while not any(one.name == "e2e" for one in await client.services()):
        assert time.monotonic() < deadline, "the function worker did not register"
