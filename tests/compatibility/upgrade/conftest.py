"""A stack of the current version on a state folder of the old one, and everybody whom its runs wait for."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from anyio.from_thread import start_blocking_portal

from orchestrator.runtime.clock import now_ms
from perdure import Perdure, Run
from tests.compatibility.upgrade import functions
from tests.compatibility.upgrade.clock_shift import shift_postgres, shift_store, shift_temporal
from tests.compatibility.upgrade.scripts import PAYLOAD_KEY, STATES, WEBHOOK_HOST, WEBHOOK_PORT
from tests.stack.driver import Dev
from tests.support.databases import PostgresServer
from tests.support.webhook_receiver import Receiver, receiving

STOPPED_SINCE = 5
"""Seconds for which the old stack seems to be gone when the new one starts. Runs that have waited for a minute give
their workflow up: those that wait with one must not be that old before the function workers are there."""


@dataclass(frozen=True, slots=True)
class OldState:
    """The new stack on an old state folder; `killed` says how the old stack ended."""

    killed: bool
    facts: dict[str, Any]
    url: str
    api_key: str
    cluster_id: str
    client: Perdure
    receiver: Receiver
    """Of the webhooks."""

    def run(self, run_id: str) -> Run[Any]:
        return self.client.get_run(run_id)


@pytest.fixture(scope="module", params=STATES)
def old(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OldState]:
    """Each old state, taken over by the current version."""
    name: str = request.param
    folder = tmp_path_factory.mktemp(name)
    facts = unpack(Path(__file__).with_name(f"{name}.tar.xz"), folder)
    ended_at = facts["endedAt"] // 1000
    later = now_ms() // 1000 - STOPPED_SINCE - ended_at
    functions.made.clear()
    functions.changes.clear()
    dev = Dev(folder, real=True)
    shift_temporal(dev.state / "temporal.db", ended_at, later)
    with ExitStack() as exits:
        environment = {} if name == "stopped" else {"PERDURE_PAYLOAD_KEY": PAYLOAD_KEY}
        if name == "postgresql":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            database = server.create()
            exits.callback(server.drop, database)
            environment["PERDURE_DATABASE_URL"] = server.url(database)
            load_store(folder / "store.sql", server.url(database), later)
        else:
            shift_store(dev.state / "perdure.db", later)
        portal = exits.enter_context(start_blocking_portal())
        receiver = exits.enter_context(
            portal.wrap_async_context_manager(receiving(host=WEBHOOK_HOST, port=WEBHOOK_PORT))
        )
        exits.callback(dev.kill_all)
        dev.start_ready(**environment)
        connection = dev.connection
        client = exits.enter_context(
            Perdure(connection["url"], connection["apiKey"], connection["clusterId"])
        )
        for service in (functions.stock, functions.away, functions.till, functions.default):
            exits.enter_context(service.running(client))
        for item in ("gear", "wheel"):
            functions.released[item].set()
        yield OldState(
            killed=name != "stopped",
            facts=facts,
            url=connection["url"],
            api_key=connection["apiKey"],
            cluster_id=connection["clusterId"],
            client=client,
            receiver=receiver,
        )


def unpack(archive: Path, folder: Path) -> dict[str, Any]:
    """Lay the state folder where `Dev` looks for it; returns the facts."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (folder / "state").rename(folder / ".perdure")
    facts: dict[str, Any] = json.loads((folder / "facts.json").read_text())
    return facts


def load_store(dump: Path, database_url: str, seconds: int) -> None:
    """Load an old store into an empty PostgreSQL database, its times moved."""
    lines = dump.read_text().splitlines(keepends=True)
    with psycopg.connect(database_url) as postgres:
        postgres.execute("".join(line for line in lines if not line.startswith("\\")).encode())
        postgres.execute("SET search_path TO public")
        shift_postgres(postgres, seconds)
