"""A whole stack in separate processes, started by the command a user starts it with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

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

    def billed(self, run: str) -> list[dict[str, int]]:
        return [line for line in read_lines(self.ledger) if line["run"] == run]

    def noted(self, kind: str, run: str) -> list[dict[str, int]]:
        return [
            line for line in read_lines(self.diary) if line["kind"] == kind and line["run"] == run
        ]


def read_lines(path: Path) -> list[dict[str, int]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def start_worker(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.end_to_end.functions"]
    return subprocess.Popen(command, env=environment, cwd=REPOSITORY)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    ledger, diary = folder / "ledger", folder / "diary"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PERDURE_")},
        LEDGER: str(ledger),
        DIARY: str(diary),
        "PERDURE_SCRIPTED_POLICIES": "billed=tests.end_to_end.policies:billed",
        "PYTHONPATH": str(REPOSITORY),
    }
    environment.pop("ANTHROPIC_API_KEY", None)
    command = [
        *(str(Path(sys.executable).with_name("perdure")), "dev", "--json"),
        *("--port", "0", "--state-dir", str(folder / "state")),
    ]
    dev = subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE)
    try:
        assert dev.stdout is not None
        facts = json.loads(dev.stdout.readline())
        environment |= {
            "PERDURE_URL": facts["url"],
            "PERDURE_API_KEY": facts["apiKey"],
            "PERDURE_CLUSTER_ID": facts["clusterId"],
        }
        made = World(
            url=facts["url"],
            api_key=facts["apiKey"],
            cluster_id=facts["clusterId"],
            state_dir=folder / "state",
            ledger=ledger,
            diary=diary,
            environment=environment,
            dev=dev,
            worker=start_worker(environment),
        )
        try:
            yield made
        finally:
            made.worker.terminate()
            made.worker.wait(30)
    finally:
        dev.terminate()
        dev.wait(60)
        if dev.stdout is not None:
            dev.stdout.close()


@pytest.fixture
async def client(world: World) -> AsyncIterator[AsyncPerdure]:
    async with AsyncPerdure(url=world.url, api_key=world.api_key) as client:
        yield client
