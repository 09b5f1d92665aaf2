"""A whole stack in processes of its own, each of which can be killed, frozen and started again by itself."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import urllib.request
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from orchestrator.settings import Settings
from orchestrator.store.store import open_store
from orchestrator.temporal.client import Temporal
from perdure import AsyncPerdure, AsyncRun, FunctionReference
from perdure.dev.plan import Addresses, Commands, find_temporal, temporal_child
from perdure.dev.ports import LOOPBACK, free_port
from perdure.dev.state import StateFolder
from tests.faults.ground.diary import DIARY, LEDGER, lines_of
from tests.faults.ground.functions import LIMIT, MEMORY, READY, SERVICE
from tests.faults.ground.processes import Process
from tests.support.running_stack import REPOSITORY

WAIT_SECONDS = 120.0
"""Seconds for which a client tries again: longer than any process is away in a scenario."""
ON_STATUS = FunctionReference(service="faults", function="on_status")


@dataclass(frozen=True, slots=True)
class Tenant:
    """A cluster and its key."""

    cluster_id: str
    key: str


@dataclass(slots=True)
class Ground:
    """Where a scenario plays."""

    folder: Path
    database_url: str
    temporal_address: str
    url: str
    environment: dict[str, str]
    tenant: Tenant
    other: Tenant
    """A second tenant, whose key must never see a run of the first."""
    processes: dict[str, Process] = field(default_factory=dict[str, Process])
    acknowledged: dict[str, str] = field(default_factory=dict[str, str])
    """Runs whose creation was answered: id -> cluster."""
    dead: set[int] = field(default_factory=set[int])
    """Function workers that were killed or frozen."""
    returns: list[int] = field(default_factory=list[int])
    """When something that was away was back, in ms."""
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """What runs were asked after they began, as far as it was acknowledged."""
    owners: dict[str, str] = field(default_factory=dict[str, str])
    """Process that runs functions, by name -> the cluster whose functions they are."""
    host: str = "functions"
    """The process that runs the first tenant's functions."""

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger"

    @property
    def diary(self) -> Path:
        return self.folder / "diary"

    def __getitem__(self, name: str) -> Process:
        return self.processes[name]

    def settings(self) -> Settings:
        """The settings of its processes, for who looks from outside."""
        return Settings(temporal_address=self.temporal_address, database_url=self.database_url)

    def progress(self) -> int:
        """Grows whenever the model is asked or a function does something."""
        return sum(path.stat().st_size for path in (self.ledger, self.diary) if path.exists())

    def add_api(self, name: str = "api", port: int = 0, **more: str) -> Process:
        """Another API on a port of its own; ready when it answers."""
        port = port or free_port()
        environment = self.environment | {"PERDURE_PORT": str(port)} | more
        return self._add(
            name, Commands().api, environment, lambda _: _answers(f"http://{LOOPBACK}:{port}/live")
        )

    def add_workers(self, name: str = "workers", **more: str) -> Process:
        """Another Temporal worker."""
        return self._add(
            name, Commands().workers, self.environment | more, lambda said: "working on" in said
        )

    def add_changed_workers(self, name: str = "changed-workers") -> Process:
        """A Temporal worker whose workflow is not the one that began the runs."""
        command = (sys.executable, "-m", "tests.faults.ground.changed_workers")
        return self._add(name, command, self.environment, lambda said: "working on" in said)

    def workers(self) -> dict[int, str]:
        """Every function worker there was -> the cluster whose key it has."""
        return {pid: cluster for name, cluster in self.owners.items() for pid in self[name].pids}

    def add_functions(
        self, name: str = "functions", *, tenant: Tenant | None = None, service: str = "faults"
    ) -> Process:
        """Another function worker, of the first tenant where no other is named; ready when it takes calls."""
        tenant = tenant or self.tenant
        self.owners[name] = tenant.cluster_id
        ready = self.folder / f"{name}.ready"
        reach = {
            "PERDURE_URL": self.url,
            "PERDURE_API_KEY": tenant.key,
            "PERDURE_CLUSTER_ID": tenant.cluster_id,
            READY: str(ready),
            SERVICE: service,
        }
        command = (sys.executable, "-m", "tests.faults.ground.functions")

        def is_ready(_: str) -> bool:
            return ready.exists() and ready.read_text() == str(self[name].pid)

        return self._add(name, command, self.environment | reach, is_ready)

    def _add(
        self,
        name: str,
        argv: tuple[str, ...],
        environment: Mapping[str, str],
        is_ready: Callable[[str], bool],
    ) -> Process:
        process = Process(name, argv, environment, self.folder / f"{name}.log", is_ready)
        self.processes[name] = process
        return process

    def client(self, tenant: Tenant | None = None) -> AsyncPerdure:
        tenant = tenant or self.tenant
        return AsyncPerdure(
            url=self.url, api_key=tenant.key, cluster_id=tenant.cluster_id, patience=WAIT_SECONDS
        )

    async def create(
        self, client: AsyncPerdure, name: str, *, steps: int = 3, **plan: JsonValue
    ) -> AsyncRun[JsonValue]:
        """A run of the scripted model; acknowledged once this returns."""
        run = await client.create_run(
            json.dumps({"run": name, "steps": steps, **plan}),
            id=name,
            model="scripted/plan",
            functions=[f"{plan.get('service', 'faults')}_{plan.get('function', 'work')}"],
            on_status_change=ON_STATUS,
        )
        self.acknowledged[name] = await client.cluster_id()
        return run

    def kill(self, name: str) -> None:
        """Kill a process: what it had begun of functions may rightly begin again."""
        if name in self.owners:
            self.dead.add(self[name].pid)
        self[name].kill()

    def host_functions(self) -> None:
        """Have the Temporal worker host the first tenant's functions; no function worker is needed then."""
        self.host = "workers"
        self.owners[self.host] = self.tenant.cluster_id
        self.environment |= {
            "PERDURE_HOSTED_FUNCTIONS": "tests.faults.ground.functions:service",
            "PERDURE_HOSTED_CLUSTER": self.tenant.cluster_id,
            LIMIT: str(MEMORY * 2),  # beside the Temporal worker's own
        }

    def work_of(self, *runs: str) -> list[dict[str, object]]:
        """What functions wrote down of these runs."""
        return [line for line in lines_of(self.diary) if line["run"] in runs]

    def stop(self) -> None:
        """End everything, the last started first."""
        for process in reversed(self.processes.values()):
            process.stop()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):  # noqa: S310 # an address of ours
            return True
    except OSError:
        return False


def _environment(folder: Path, database_url: str, temporal_address: str) -> dict[str, str]:
    kept = {name: v for name, v in os.environ.items() if not name.startswith("PERDURE_")}
    kept.pop("ANTHROPIC_API_KEY", None)
    return {
        **kept,
        LEDGER: str(folder / "ledger"),
        DIARY: str(folder / "diary"),
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'sdk/src'}",
        "PYTHONUNBUFFERED": "1",
        "PERDURE_STATE_DIR": str(folder),
        "PERDURE_DATABASE_URL": database_url,
        "PERDURE_TEMPORAL_ADDRESS": temporal_address,
        "PERDURE_SCRIPTED_POLICIES": "plan=tests.faults.ground.policies:plan",
    }


async def _tenants(database_url: str) -> list[Tenant]:
    store = await open_store(database_url)
    try:
        made: list[Tenant] = []
        for name in ("first", "second"):
            cluster_id = await store.keys.ensure_cluster(name)
            _, key = await store.keys.create(cluster_id, "faults")
            made.append(Tenant(cluster_id, key))
        return made
    finally:
        await store.aclose()


async def _temporal(
    folder: Path, data: Path, address: str, environment: Mapping[str, str]
) -> Process:
    """The Temporal server, serving."""
    _, _, port = address.rpartition(":")
    where = Addresses(
        host=LOOPBACK, port=0, temporal=address, temporal_port=int(port), ui_port=None
    )
    child = temporal_child(find_temporal(), StateFolder(data), where, environment)
    process = Process(
        "temporal", child.argv, child.environment, folder / "temporal.log", lambda _: True
    )
    await process.start()
    await temporal_serves(address)
    return process


async def temporal_serves(address: str) -> None:
    """Wait until the Temporal server answers."""
    temporal = Temporal(Settings(temporal_address=address))
    async with asyncio.timeout(60):
        while not await temporal.is_reachable():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)


@asynccontextmanager
async def laid_out(
    folder: Path,
    *,
    database_url: str = "",
    data: Path | None = None,
    parts: tuple[str, ...] = ("api", "workers", "functions"),
    hosted: bool = False,
    **more: str,
) -> AsyncGenerator[Ground]:
    """A stack in that folder: Temporal, and of the other parts those that are named. All are ended at the end.

    `data` is where Temporal and SQLite keep what they have, where that is to be elsewhere. `more` are variables. With
    `hosted` the Temporal worker hosts the functions, and there is no function worker.
    """
    database_url = database_url or f"sqlite:///{(data or folder) / 'perdure.db'}"
    address, port = f"{LOOPBACK}:{free_port()}", free_port()
    environment = _environment(folder, database_url, address) | more
    first, second = await _tenants(database_url)
    ground = Ground(
        folder=folder,
        database_url=database_url,
        temporal_address=address,
        url=f"http://{LOOPBACK}:{port}",
        environment=environment,
        tenant=first,
        other=second,
    )
    if hosted:
        ground.host_functions()
    try:
        ground.processes["temporal"] = await _temporal(folder, data or folder, address, environment)
        ground.add_api(port=port)
        ground.add_workers()
        ground.add_functions()
        for part in parts:
            if part != "functions" or not hosted:
                await ground[part].start()
        yield ground
    finally:
        ground.stop()
