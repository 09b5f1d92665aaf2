"""pydantic-ai on Restate: its server and the service are processes beside; runs are asked for over its HTTP ingress.

At its start the server asks once which release is the newest; no setting of version 1.7 keeps it from that, and
nothing waits for the answer. All else stays on 127.0.0.1.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from peerkit.orders import RunOnce, Surroundings, main
from peerkit.processes import beside, free_port, script_beside, until

_RUN_SECONDS = 170.0


@asynccontextmanager
async def peer(where: Surroundings) -> AsyncIterator[RunOnce]:
    ingress, admin, service = (f"127.0.0.1:{free_port()}" for _ in range(3))
    script = Path(__file__).with_name("service.py")
    limits = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(timeout=_RUN_SECONDS, limits=limits, trust_env=False) as client,
        script_beside(script, service.rpartition(":")[2]),
        beside(*_server(where), environment=_settings(ingress, admin)) as server,
    ):
        await until(lambda: _answers(client, f"http://{admin}/health"), server, "restate-server")
        deployment = {"uri": f"http://{service}"}
        (await client.post(f"http://{admin}/deployments", json=deployment)).raise_for_status()

        async def run_once(steps: int) -> str:
            answer = await client.post(f"http://{ingress}/Peer/run", json=steps)
            answer.raise_for_status()
            return str(answer.json())

        yield run_once


def _server(where: Surroundings) -> tuple[str | Path, ...]:
    modules = Path(os.environ["PEER_NODE_MODULES"])
    (binary,) = modules.glob("@restatedev/restate-server-*/bin/restate-server")
    return (binary, "--base-dir", where.state_dir / "restate", "--node-name", "peer", "--no-logo")


def _settings(ingress: str, admin: str) -> dict[str, str]:
    return {
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{free_port()}",
        "RESTATE_INGRESS__BIND_ADDRESS": ingress,
        "RESTATE_ADMIN__BIND_ADDRESS": admin,
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_SHUTDOWN_TIMEOUT": "2s",
        "RESTATE_LOG_FILTER": "warn,octocrab=off",
        "RESTATE_LOG_DISABLE_ANSI_CODES": "true",
    }


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).is_success
    except httpx.HTTPError:
        return False


if __name__ == "__main__":
    main(peer)
