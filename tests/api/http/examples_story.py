"""One story through every operation of the API: its requests and answers are the examples of the OpenAPI document."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import httpx2
from fastapi import FastAPI

from api.__main__ import open_services
from api.app import create_app
from api.auth.rate_limits import RateLimiter, TrafficClass
from api.http.errors import install_error_handlers
from orchestrator.errors import UnavailableError
from orchestrator.llm.messages import ModelResponse, StopReason, ToolCall
from orchestrator.llm.prompts import REASON_PARAMETER
from orchestrator.settings import Settings
from orchestrator.store import tables
from orchestrator.store.migrations.runner import migrate
from orchestrator.workflows.interface import RunRef
from perdure.contract import Budget, FunctionReference, Scope, StatusChangeTarget
from tests.support.stage import Stage, result_of, text_of

MACHINE = {"x-machine-id": "worker-1", "user-agent": "perdure-python/1.0"}
HANDLER = StatusChangeTarget(function=FunctionReference(service="sales", function="announce"))
RUN = "growth-2026-q3"
FUNCTIONS: list[dict[str, Any]] = [
    {
        "name": "query_orders",
        "description": "Run one read-only SQL query on the orders database.",
        "schema": {
            "type": "object",
            "properties": {"sql": {"type": "string"}},
            "required": ["sql"],
        },
        "config": {"timeoutSeconds": 30, "retries": 2},
    },
    {"name": "refund", "config": {"requiresApproval": True}},
    {"name": "announce", "config": {"handler": True}},
]
CONFIG: dict[str, Any] = {
    "name": "Growth",
    "initialPrompt": "Which customer grew most in {{quarter}}?",
    "attachedFunctions": ["sales_query_orders"],
    "inputSchema": {
        "type": "object",
        "properties": {"quarter": {"type": "string"}},
        "required": ["quarter"],
    },
}


@dataclass(slots=True)
class Story:
    """Somebody who asks for one thing after the other, and writes both sides down."""

    client: httpx2.AsyncClient
    stage: Stage
    examples: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    async def send(
        self, name: str, method: str, path: str, body: Any = None, **params: str
    ) -> dict[str, Any]:
        """Make a request of this operation inside the cluster, and keep what was said."""
        address = path if path.startswith("//") else f"/clusters/{self.stage.cluster_id}{path}"
        return await self._send(name, method, address.replace("//", "/"), body, params)

    async def _send(
        self, name: str, method: str, path: str, body: Any, params: Mapping[str, str]
    ) -> dict[str, Any]:
        answer = await self.client.request(method, path, json=body, params=params, headers=MACHINE)
        assert answer.is_success, f"{name}: {answer.text}"
        said: dict[str, Any] = {} if body is None else {"request": body}
        if answer.headers.get("content-type", "").startswith("application/json"):
            said["answer"] = answer.json()
        self.examples[name] = said
        return cast("dict[str, Any]", said.get("answer", {}))

    async def refused(self, status: int, method: str, path: str, **asked: Any) -> None:
        """A request that is refused; the problem is the example of its status."""
        asked.setdefault("headers", {"authorization": self.client.headers["authorization"]})
        answer = await self.client.request(method, path, **asked)
        assert answer.status_code == status, answer.text
        self.examples.setdefault("problems", {})[str(status)] = answer.json()


@asynccontextmanager
async def story(folder: Path) -> AsyncGenerator[Story]:
    """The API over a store in that folder, without Temporal; a key that may do everything."""
    settings = Settings(
        database_url=f"sqlite:///{folder / 'examples.db'}",
        temporal_address="127.0.0.1:1",
        max_wait_seconds=1,
        default_model="anthropic/claude-sonnet-5-5",
    )
    async with open_services(settings) as services:
        await migrate(services.store.database)
        cluster = await services.store.keys.ensure_cluster("sales")
        _, key = await services.store.keys.create(cluster, "billing", scopes=tuple(Scope))
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(create_app(services)),
            base_url="http://api",
            headers={"Authorization": f"Bearer {key}"},
        ) as client:
            yield Story(client, Stage(services.store, cluster))


async def write_examples(story: Story) -> dict[str, dict[str, Any]]:
    """Tell it from the beginning. What was asked and answered, by operation; problems by status."""
    await _server(story)
    await _clusters(story)
    ref = await _run(story)
    await _calls(story, ref)
    await _conversation(story, ref)
    await _configurations(story)
    await _what_was_seen(story)
    await _endings(story)
    await _refusals(story)
    await _faults(story)
    return story.examples


async def _server(story: Story) -> None:
    await story.send("check_live", "GET", "//live")
    degraded = await story.client.get("/ready")
    assert degraded.status_code == HTTPStatus.SERVICE_UNAVAILABLE, "Temporal is away here"
    well: dict[str, Any] = {"status": "ok", "missing": []}
    story.examples["check_ready"] = {"200": well, "503": degraded.json()}
    await story.send("get_identity", "GET", "//me")
    story.examples["get_openapi_document"] = {"answer": {"openapi": "3.1.0"}}
    story.examples["get_contract"] = {"answer": {"contract": '{"openapi":"3.1.0"}'}}


async def _clusters(story: Story) -> None:
    made = await story.send("create_cluster", "POST", "//clusters", {"name": "support"})
    await story.send("list_clusters", "GET", "//clusters")
    words = {"additionalContext": "Amounts are in euros."}
    await story.send("update_cluster", "PUT", "", words)
    await story.send("get_cluster", "GET", "")
    await story.send("list_context_versions", "GET", "/context-versions")
    await story.send("delete_cluster", "DELETE", f"//clusters/{made['id']}")
    key = await story.send(
        "create_api_key", "POST", "/api-keys", {"name": "worker", "scopes": ["machine"]}
    )
    story.examples["create_api_key"]["answer"]["key"] = "sk_…"
    await story.send("list_api_keys", "GET", "/api-keys")
    await story.send("revoke_api_key", "DELETE", f"/api-keys/{key['id']}")
    secret = await story.send("create_webhook_secret", "POST", "/webhook-secrets", {})
    story.examples["create_webhook_secret"]["answer"]["secret"] = "whsec_…"
    await story.send("list_webhook_secrets", "GET", "/webhook-secrets")
    await story.send("delete_webhook_secret", "DELETE", f"/webhook-secrets/{secret['id']}")
    machine = {"service": "sales", "functions": FUNCTIONS}
    await story.send("register_machine", "POST", "//machines", machine)
    await story.send("list_services", "GET", "/services")
    await story.send("list_machines", "GET", "/machines")
    await story.stage.register("query_orders", machine="worker-0")
    await story.send("report_lost_machine", "POST", "/machines/worker-0/lost")
    note = {"additionalContext": "Ask for one quarter at a time."}
    await story.send("put_function_note", "PUT", "/sales/query_orders/metadata", note)
    await story.send("get_function_note", "GET", "/sales/query_orders/metadata")
    await story.send("delete_function_note", "DELETE", "/sales/query_orders/metadata")


async def _run(story: Story) -> RunRef:
    asked = {
        "id": RUN,
        "initialPrompt": "Which customer grew most this quarter?",
        "attachedFunctions": ["sales_query_orders", "sales_refund"],
        "onStatusChange": {"function": {"service": "sales", "function": "announce"}},
        "metadata": {"team": "sales"},
        "budget": {"usd": 0.5},
    }
    await story.send("create_run", "POST", "/runs", asked)
    return RunRef(story.stage.cluster_id, RUN)


async def _calls(story: Story, ref: RunRef) -> None:
    stage = story.stage
    asked = {REASON_PARAMETER: "To see who grew.", "sql": "SELECT customer, SUM(total) FROM orders"}
    orders = (
        await stage.think(ref, ModelResponse("", StopReason.CALLS, (_call("query_orders", asked),)))
    ).orders
    call_id = orders[0].call_id
    given = await stage.lease(ref, call_id, machine="worker-1")
    polled = given.model_dump(mode="json", by_alias=True)
    story.examples["poll_calls"] = {"answer": [polled]}
    story.examples["keep_call"] = {"request": {"attempt": 1}, "answer": {"cancelled": False}}
    blob = {"name": "rows", "type": "application/json", "encoding": "base64", "data": "e30="}
    kept = await story.send("create_blob", "POST", f"/calls/{call_id}/blobs", blob)
    await story.send("list_run_blobs", "GET", f"/runs/{RUN}/blobs")
    await story.send("get_blob_data", "GET", f"/blobs/{kept['id']}/data")
    story.examples["get_blob_data"] = {"answer": "{}"}  # to the document a file's content is text
    result = {"attempt": 1, "resultType": "resolution", "result": {"customer": "Maple Row"}}
    await story.send("post_result", "POST", f"/calls/{call_id}/result", result)
    await story.send("get_call", "GET", f"/calls/{call_id}")
    await story.send("get_call_result", "GET", f"/calls/{call_id}/result")
    await story.send("list_references", "GET", f"/runs/{RUN}/references", token="Maple Row")
    await stage.think(ref, ModelResponse("", StopReason.CALLS, (_call("refund", {}),)))
    waiting = await _waiting_call(story)
    await story.send("list_approvals", "GET", "/approvals")
    decision = {"approved": False, "reason": "Not this quarter."}
    await story.send("decide_call", "POST", f"/calls/{waiting}/approval", decision)
    await story.send("list_run_calls", "GET", f"/runs/{RUN}/calls")
    direct = {"service": "sales", "function": "query_orders", "input": {"sql": "SELECT 1"}}
    made = await story.send("create_call", "POST", "/calls", direct)
    await story.send("cancel_call", "POST", f"/calls/{made['id']}/cancel", {"reason": "Too late."})


def _call(function: str, value: dict[str, Any]) -> ToolCall:
    return ToolCall(f"toolu_{function}", f"sales_{function}", value)


async def _waiting_call(story: Story) -> str:
    rows = await story.stage.rows(tables.calls, tables.calls.c.function == "refund")
    return str(rows[-1]["id"])


async def _conversation(story: Story, ref: RunRef) -> None:
    stage, run = story.stage, f"/runs/{RUN}"
    await stage.think(ref, text_of("Maple Row grew most."))
    await story.send("set_feedback", "POST", f"{run}/feedback", {"score": 1, "comment": "Right."})
    await story.send("get_run", "GET", run)
    message = await story.send("create_message", "POST", f"{run}/messages", {"message": "And why?"})
    await story.send(
        "edit_message", "PUT", f"{run}/messages/{message['id']}", {"message": "Why, in one line?"}
    )
    await stage.think(ref, text_of("Cabinets."))
    await story.send("retry_run", "POST", f"{run}/retry", {"messageId": message["id"]})
    await stage.think(ref, text_of("It bought cabinets."))
    await story.send("list_messages", "GET", f"{run}/messages")
    await story.send("get_timeline", "GET", f"{run}/timeline", after="0", limit="3")
    await story.send("list_events", "GET", f"{run}/events", after="0", limit="3")
    dead, *_ = await stage.store.deliveries.list_pending(ref, [])
    await stage.store.deliveries.list_pending(ref, [dead.call_id])
    await story.send("list_deliveries", "GET", f"{run}/deliveries", limit="1")
    await story.send("resend_delivery", "POST", f"{run}/deliveries/1/resend")


async def _configurations(story: Story) -> None:
    configs = "/run-configs"
    await story.send("create_run_config", "POST", configs, {"id": "growth", **CONFIG})
    await story.send("put_run_config", "PUT", f"{configs}/growth", {**CONFIG, "public": True})
    await story.send("get_run_config", "GET", f"{configs}/growth", withPreviousVersions="true")
    await story.send("list_run_configs", "GET", configs)
    await story.send("search_run_configs", "GET", f"{configs}/search", search="growth")
    asked = {"id": "configured", "config": {"id": "growth", "input": {"quarter": "Q3"}}}
    await story.send("create_configured", "POST", "/runs", asked)
    del story.examples["create_configured"]
    await story.send("get_run_config_metrics", "GET", f"{configs}/growth/metrics")
    await story.send("delete_run_config", "DELETE", f"{configs}/growth")
    question = {"prompt": "How many legs has a spider?", "resultSchema": {"type": "integer"}}
    path = "/structured-output"
    asking = asyncio.create_task(story.send("create_structured_output", "POST", path, question))
    async with asyncio.timeout(10):
        found: list[dict[str, Any]] = []
        while not found:
            await asyncio.sleep(0)
            found = await story.stage.rows(tables.runs, tables.runs.c.kind == "structured")
    await story.stage.think(RunRef(story.stage.cluster_id, found[0]["id"]), result_of(8))
    await asking


async def _what_was_seen(story: Story) -> None:
    await story.send("list_runs", "GET", "/runs", metadata="team:sales")
    await story.send("list_cluster_events", "GET", "/events", limit="2")
    await story.send("get_usage", "GET", "/usage")
    await story.send("list_audit_entries", "GET", "/audit", limit="2")


async def _endings(story: Story) -> None:
    ref = await story.stage.run(id="paused", budget=Budget(steps=1))
    await story.stage.think(ref, text_of("One."))
    await story.stage.send(ref, "Two?")
    await story.stage.begin(ref)
    await story.send("resume_run", "POST", "/runs/paused/resume", {"budget": {"steps": 20}})
    await story.stage.run(id="cancelled")
    await story.send("cancel_run", "POST", "/runs/cancelled/cancel", {"reason": "Not needed."})
    await story.send("delete_run", "DELETE", "/runs/cancelled")


async def _refusals(story: Story) -> None:
    cluster = f"/clusters/{story.stage.cluster_id}"
    runs = f"{cluster}/runs"
    refused, json = story.refused, {"content-type": "application/json"}
    key = {"authorization": story.client.headers["authorization"]}
    await refused(400, "POST", runs, content=b"{", headers={**json, **key})
    await refused(401, "GET", runs, headers={"authorization": "Bearer sk_wrong"})
    _, secret = await story.stage.store.keys.create(
        story.stage.cluster_id, "worker", scopes=(Scope.MACHINE,)
    )
    await refused(403, "GET", runs, headers={"authorization": f"Bearer {secret}"})
    await refused(404, "GET", f"{runs}/unknown")
    await refused(409, "POST", f"{runs}/{RUN}/cancel")
    await refused(
        410, "GET", f"{cluster}/calls?service=sales", headers={**key, "x-machine-id": "x"}
    )
    await refused(413, "POST", runs, content=b"0" * 5_000_000, headers={**json, **key})
    await refused(415, "POST", runs, content=b"{}", headers={"content-type": "text/plain", **key})
    await refused(422, "POST", runs, json={"initalPrompt": "Hello"})
    late = {"prompt": "Slowly.", "resultSchema": {"type": "integer"}}
    await refused(408, "POST", f"{cluster}/structured-output", json=late)


async def _faults(story: Story) -> None:
    """What the server cannot help, as it says it."""
    app = FastAPI()
    install_error_handlers(app)
    throttle, lane = (
        RateLimiter(per_second=0, max_concurrent=1),
        TrafficClass(is_worker=False, waits=False),
    )

    @app.get("/{status}")
    async def fail(status: int) -> None:
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            raise UnavailableError("Temporal does not answer: it is away.")
        await throttle.acquire("sales", lane)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            await throttle.acquire("sales", lane)
        raise RuntimeError

    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        for status in ("503", "429", "500"):
            story.examples["problems"][status] = (await client.get(f"/{status}")).json()
            throttle = RateLimiter(per_second=0, max_concurrent=1)
