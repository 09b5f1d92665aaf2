"""An API process of its own: `python -m api` on a free port, with a key made by `python -m api.keys`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

_READY_WITHIN = 30.0


@dataclass(frozen=True, slots=True)
class ApiProcess:
    """A running API."""

    url: str
    key: str
    cluster: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


@contextmanager
def api_process(folder: Path, **settings: str) -> Generator[ApiProcess]:
    """Start the process and wait until it answers. Nothing is at Temporal's address."""
    port = _free_port()
    environment = {
        **os.environ,
        "PERDURE_STATE_DIR": str(folder),
        "PERDURE_PORT": str(port),
        "PERDURE_TEMPORAL_ADDRESS": "127.0.0.1:1",
        "PERDURE_DEFAULT_MODEL": "scripted/inline",
        **settings,
    }
    key_file = folder / "key"
    made = subprocess.run(
        [sys.executable, "-m", "api.keys", "ensure", "--name", "tests", "--key-file", key_file],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    with (folder / "api.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "api"], env=environment, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_alive(url, process)
        cluster = json.loads(made.stdout)["clusterId"]
        key = key_file.read_text().strip()
        yield ApiProcess(url, key, cluster, process, folder / "api.log")
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_alive(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while time.monotonic() < deadline:
        assert process.poll() is None, "the API process ended"
        try:
            httpx2.get(f"{url}/live")
        except httpx2.TransportError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(url)
