"""A stack that receives secrets in every way there is, plays runs of every kind, and is then searched for them."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.faults.ground.ground import Ground, laid_out
from tests.security.canaries import Canaries
from tests.security.functions import AUTH, READY, fingerprint
from tests.support.anthropic_server import AnthropicServer, Body, Entry, prompted, serving
from tests.support.running_stack import REPOSITORY
from tests.support.webhook_receiver import Receiver, receiving

MODEL = "claude-3-5-sonnet"
ECHO = '{"what": "the provider repeats the key in its error"}'
"""A prompt at which the model's provider does that."""


@dataclass(slots=True)
class Vault:
    """The stack, what it received, and what it said."""

    ground: Ground
    canaries: Canaries
    claude: AnthropicServer
    receiver: Receiver
    http: httpx2.AsyncClient
    answers: list[bytes] = field(default_factory=list[bytes])
    """Everything the API answered, heads included, but for secrets that it makes and says once."""

    @property
    def cluster(self) -> str:
        return f"/clusters/{self.ground.tenant.cluster_id}"

    async def ask(
        self, method: str, path: str, *, body: Any = None, keep: bool = True, **headers: str
    ) -> httpx2.Response:
        """Ask with the key and with secret headers beside it, and keep the answer."""
        given = {
            "X-Secret": self.canaries.known["header"],
            "Cookie": f"session={self.canaries.known['cookie']}",
            "X-Api-Key": self.canaries.known["foreign key"],
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        answer = await self.http.request(method, path, json=body, headers=given)
        if keep:
            self.answers.append(repr(answer.headers.multi_items()).encode() + answer.content)
        return answer

    async def run(self, script: str, *functions: str, **more: Any) -> str:
        """Create a run with secrets in its context; its id."""
        headers = more.pop("headers", {})
        body = {
            "initialPrompt": script,
            "name": "a run",
            "model": MODEL,
            "attachedFunctions": [
                {"service": "vault", "function": name} for name in functions or ("look",)
            ],
            "context": {"secret": self.canaries.known["context"]},
            **more,
        }
        made = await self.ask("POST", f"{self.cluster}/runs", body=body, **headers)
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    async def until(self, run: str, *statuses: str) -> dict[str, Any]:
        """The run, once it has one of these statuses."""
        async with asyncio.timeout(60):
            while True:
                answer = await self.ask("GET", f"{self.cluster}/runs/{run}?wait=1&until=final")
                if answer.json()["status"] in statuses:
                    return dict(answer.json())
                assert answer.json()["status"] in {"pending", "running"}, answer.text

    async def search_everywhere(self, run: str) -> None:
        """Read all that the API says of a run."""
        for what in ("", "/events", "/messages", "/timeline", "/calls", "/deliveries", "/blobs"):
            await self.ask("GET", f"{self.cluster}/runs/{run}{what}")

    def command(self, *words: str) -> bytes:
        """What the command line says."""
        tenant = self.ground.tenant
        reach = {
            "PERDURE_URL": self.ground.url,
            "PERDURE_API_KEY": tenant.key,
            "PERDURE_CLUSTER_ID": tenant.cluster_id,
        }
        perdure = str(Path(sys.executable).with_name("perdure"))
        done = subprocess.run(
            [perdure, *words],
            env=self.ground.environment | reach,
            cwd=REPOSITORY,
            capture_output=True,
            check=False,
            timeout=60,
        )
        return done.stdout + done.stderr

    def requests(self) -> bytes:
        """What the model's provider was sent, but for the key that it is shown in the header made for it."""
        heads = [
            {name: value for name, value in one.items() if name != "authorization"}
            for one in self.claude.headers
        ]
        return repr((self.claude.requests, heads)).encode()

    def logs(self) -> dict[str, bytes]:
        """What each process wrote."""
        return {
            f"log of {path.stem}": path.read_bytes() for path in self.ground.folder.glob("*.log")
        }

    def files(self, folder: Path) -> dict[str, bytes]:
        """Every file of the databases below the folder, journals included."""
        found = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".log"]
        return {f"file {path.relative_to(folder)}": path.read_bytes() for path in found}


def _script(server: AnthropicServer) -> None:
    def play(body: Body) -> Entry:
        if body["messages"][0]["content"] == ECHO or ECHO in str(body["messages"][0]):
            key = server.headers[-1]["authorization"]
            said = {"type": "authentication_error", "message": f"invalid credentials: {key}"}
            return {"status": 401, "error": said}
        return prompted(body)

    server.script = play


def _settings(canaries: Canaries, claude: str) -> dict[str, str]:
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return {
        "PERDURE_LOG_LEVEL": "debug",
        "PERDURE_PAYLOAD_KEY": canaries.add("payload key", key),
        "PERDURE_ANTHROPIC_API_KEY": canaries.new("model key", "sk-ant-canary"),
        "PERDURE_ANTHROPIC_BASE_URL": claude,
        "PERDURE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        AUTH: canaries.new("auth context"),
    }


@asynccontextmanager
async def opened(folder: Path, *, database_url: str = "") -> AsyncGenerator[Vault]:
    """The stack with its function worker, all at the noisiest level of logging."""
    canaries = Canaries()
    for kind in ("context", "header", "cookie", "foreign key", "token", "wrong key"):
        canaries.new(kind)
    claude = AnthropicServer()
    _script(claude)
    async with serving(claude), receiving() as receiver:
        settings = _settings(canaries, claude.url)
        data = folder / "data"
        data.mkdir()
        async with laid_out(
            folder,
            database_url=database_url,
            data=data,
            parts=("api", "workers"),
            hosted=False,
            **settings,
        ) as ground:
            canaries.add("api key", ground.tenant.key)
            await _start_functions(ground)
            key = {"Authorization": f"Bearer {ground.tenant.key}"}
            async with httpx2.AsyncClient(base_url=ground.url, headers=key, timeout=30) as http:
                yield Vault(ground, canaries, claude, receiver, http)


async def _start_functions(ground: Ground) -> None:
    ready = ground.folder / "functions.ready"
    reach: Mapping[str, str] = {
        "PERDURE_URL": ground.url,
        "PERDURE_API_KEY": ground.tenant.key,
        "PERDURE_CLUSTER_ID": ground.tenant.cluster_id,
        READY: str(ready),
    }
    process = ground._add(
        "functions",
        (sys.executable, "-m", "tests.security.functions"),
        {**os.environ, **ground.environment, **reach},
        lambda _: ready.exists(),
    )
    await process.start()


def expected(canaries: Canaries, *kinds: str) -> list[str]:
    """What a function says that was given these secrets."""
    return [fingerprint(canaries.known.get(kind)) for kind in kinds]
