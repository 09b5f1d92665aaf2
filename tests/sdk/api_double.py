"""An API for tests of the SDK, behind a real server on a loopback port: it does what the test scripts."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from tests.sdk.loopback_server import LoopbackServer

CLUSTER = "c-test"
KEY = "sk_test"
Answer = Callable[..., Awaitable[Response]]


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Fault:
    """What the next requests of a kind get instead of an answer."""

    pattern: re.Pattern[str]
    status: int
    times: int
    headers: dict[str, str]
    body: bytes


@dataclass
class DoubleRun:
    """A run that moves when the test says so."""

    fields: dict[str, Any]
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    messages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def change(self, **fields: Any) -> None:
        """Change the run; a new status is an event, anything else is one too."""
        self.fields.update(fields)
        self.fields["version"] += 1
        data = {"status": fields["status"]} if "status" in fields else {}
        self.events.append(
            {
                "version": self.fields["version"],
                "type": "status" if data else "note",
                "data": data,
                "createdAt": now(),
            }
        )

    def final(self) -> bool:
        return self.fields["status"] in {"done", "failed", "cancelled"}


def now() -> str:
    return datetime.now(UTC).isoformat()


class ApiDouble:
    """One test's API; what happened is in the attributes. `stop` lets it go away, `start` brings it back."""

    def __init__(self, server: LoopbackServer) -> None:
        self._server = server
        self.seen: list[Seen] = []
        self.runs: dict[str, DoubleRun] = {}
        self.keys: dict[str, str] = {}
        self.offered: dict[str, dict[str, Any]] = {}
        self.waiting: list[dict[str, Any]] = []
        self.results: dict[str, list[dict[str, Any]]] = {}
        self.beats: dict[str, int] = {}
        self.blobs: list[dict[str, Any]] = []
        self.cancelled_calls: set[str] = set()
        self.superseded: set[str] = set()
        self.cut_stream_after: int | None = None
        self.answers_early = False
        self._faults: list[Fault] = []
        self._news = threading.Condition()

    @property
    def url(self) -> str:
        return self._server.url

    # -- for the test ------------------------------------------------------------------------------

    def start(self) -> None:
        self._server.start(self.answer)

    def stop(self) -> None:
        """Go away, and break off whatever is open."""
        self._server.stop()

    def fault(
        self,
        pattern: str,
        status: int,
        *,
        times: int = 1,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> None:
        """Answer the next requests whose `METHOD /path` matches with an error."""
        problem = json.dumps(
            {
                "type": "about:blank",
                "title": "Scripted",
                "status": status,
                "code": f"scripted_{status}",
                "detail": f"scripted {status}",
                "errors": [{"pointer": "/field", "detail": "is wrong"}],
            }
        ).encode()
        text = problem if body is None else body
        self._faults.append(Fault(re.compile(pattern), status, times, headers or {}, text))

    def add_run(self, run_id: str = "run-1", **fields: Any) -> DoubleRun:
        run = DoubleRun({**_RUN, "id": run_id, "createdAt": now(), "updatedAt": now(), **fields})
        self.runs[run_id] = run
        return run

    def call(self, function: str, value: Any, call_id: str = "call-1", **fields: Any) -> None:
        """Have a function called, by whoever polls for it."""
        service, _, name = function.partition(".")
        call = {"id": call_id, "service": service, "function": name, "input": value}
        with self._news:
            self.waiting.append({**call, **_CALL, **fields})

    def result(self, call_id: str = "call-1", timeout: float = 10) -> dict[str, Any]:
        """The first result posted for a call."""
        self.wait_until(lambda: bool(self.results.get(call_id)), timeout)
        return self.results[call_id][0]

    def wait_until(self, condition: Callable[[], bool], timeout: float = 10) -> None:
        with self._news:
            # what has no notification of its own is looked at again every 20 ms
            for _ in range(int(timeout / 0.02)):
                if condition():
                    return
                self._news.wait(0.02)
        raise AssertionError("what the test waits for did not happen")

    async def until(self, condition: Callable[[], bool]) -> None:
        await asyncio.to_thread(self.wait_until, condition)

    def requests(self, pattern: str) -> list[Seen]:
        """What arrived so far and matches `METHOD /path`."""
        return [seen for seen in self.seen if re.search(pattern, f"{seen.method} {seen.path}")]

    # -- the server --------------------------------------------------------------------------------

    async def answer(self, request: Request) -> Response:
        raw = await request.body()
        seen = Seen(
            request.method,
            request.url.path,
            dict(request.query_params),
            dict(request.headers),
            json.loads(raw) if raw else None,
        )
        with self._news:
            self.seen.append(seen)
            self._news.notify_all()
        if fault := self._fault_for(f"{seen.method} {seen.path}"):
            return Response(fault.body, fault.status, fault.headers)
        if seen.headers.get("authorization") != f"Bearer {KEY}":
            return problem(401, "unauthorized", "The key is not known.")
        for method, pattern, answer in self._routes():
            found = re.fullmatch(pattern, seen.path)
            if found and method == seen.method:
                return await answer(seen, *found.groups())
        return problem(404, "not_found", "There is nothing here.")

    def _fault_for(self, what: str) -> Fault | None:
        for fault in self._faults:
            if fault.times > 0 and fault.pattern.search(what):
                fault.times -= 1
                return fault
        return None

    def _routes(self) -> Sequence[tuple[str, str, Answer]]:
        cluster = f"/clusters/{CLUSTER}"
        return (
            ("GET", "/me", self._me),
            ("POST", "/machines", self._register),
            ("GET", f"{cluster}/services", self._services),
            ("POST", f"{cluster}/runs", self._create),
            ("GET", f"{cluster}/runs", self._list),
            ("GET", f"{cluster}/runs/([^/]+)", self._get),
            ("POST", f"{cluster}/runs/([^/]+)/cancel", self._cancel),
            ("POST", f"{cluster}/runs/([^/]+)/resume", self._resume),
            ("GET", f"{cluster}/runs/([^/]+)/messages", self._messages),
            ("POST", f"{cluster}/runs/([^/]+)/messages", self._send),
            ("GET", f"{cluster}/runs/([^/]+)/events", self._events),
            ("GET", f"{cluster}/calls", self._poll),
            ("POST", f"{cluster}/calls/([^/]+)/heartbeat", self._beat),
            ("POST", f"{cluster}/calls/([^/]+)/result", self._result),
            ("POST", f"{cluster}/calls/([^/]+)/blobs", self._blob),
            ("POST", f"{cluster}/machines/([^/]+)/lost", self._lost),
        )

    async def _me(self, seen: Seen) -> Response:
        return JSONResponse({"clusterId": CLUSTER, "keyName": "test", "somethingNew": 1})

    async def _register(self, seen: Seen) -> Response:
        if "x-machine-id" not in seen.headers:
            return problem(400, "machine_id_missing", "Who are you?")
        self.offered[seen.body["service"]] = seen.body
        return JSONResponse({"clusterId": CLUSTER})

    async def _services(self, seen: Seen) -> Response:
        items = [
            {"name": name, "functions": body["functions"]} for name, body in self.offered.items()
        ]
        start = int(seen.query.get("cursor", 0))
        cursor = str(start + 1) if start + 1 < len(items) else None
        return JSONResponse({"items": items[start : start + 1], "nextCursor": cursor})

    async def _create(self, seen: Seen) -> Response:
        key = seen.headers["idempotency-key"]
        if key not in self.keys:
            self.keys[key] = seen.body.get("id") or f"run-{len(self.runs) + 1}"
            self.add_run(self.keys[key])
        return JSONResponse(self.runs[self.keys[key]].fields, 201)

    async def _list(self, seen: Seen) -> Response:
        items = [run.fields for run in reversed(self.runs.values())]
        start, limit = int(seen.query.get("cursor", 0)), int(seen.query["limit"])
        cursor = str(start + limit) if start + limit < len(items) else None
        return JSONResponse({"items": items[start : start + limit], "nextCursor": cursor})

    async def _get(self, seen: Seen, run_id: str) -> Response:
        run = self.runs.get(run_id)
        if run is None:
            return problem(404, "not_found", "There is no such run.")
        after = int(seen.query.get("after", -1))
        wait = 0.0 if self.answers_early else float(seen.query.get("wait", 0))
        if seen.query.get("until") == "final":
            await self._wait(run.final, wait)
        else:
            await self._wait(lambda: run.fields["version"] > after, wait)
        return JSONResponse(run.fields)

    async def _cancel(self, seen: Seen, run_id: str) -> Response:
        run = self.runs[run_id]
        if run.final():
            return problem(409, "run_is_final", "The run has ended.")
        run.change(status="cancelled", failureReason=seen.body.get("reason"))
        return JSONResponse(run.fields)

    async def _resume(self, seen: Seen, run_id: str) -> Response:
        run = self.runs[run_id]
        if run.fields["status"] != "paused":
            return problem(409, "run_not_paused", "The run is not paused.")
        run.change(status="running")
        return JSONResponse(run.fields)

    async def _messages(self, seen: Seen, run_id: str) -> Response:
        items = self.runs[run_id].messages
        start = int(seen.query.get("cursor", 0))
        cursor = str(start + 2) if start + 2 < len(items) else None
        return JSONResponse({"items": items[start : start + 2], "nextCursor": cursor})

    async def _send(self, seen: Seen, run_id: str) -> Response:
        run = self.runs[run_id]
        known = [message for message in run.messages if message["id"] == seen.body["id"]]
        if known:
            return JSONResponse(known[0], 201)
        if run.final():
            run.change(status="pending", turn=run.fields["turn"] + 1, result=None)
        message = {
            "id": seen.body["id"],
            "type": "human",
            "data": {"message": seen.body["message"]},
            "turn": run.fields["turn"],
            "createdAt": now(),
        }
        run.messages.append(message)
        return JSONResponse(message, 201)

    async def _events(self, seen: Seen, run_id: str) -> Response:
        after = int(seen.headers.get("last-event-id", 0))
        return StreamingResponse(
            self._stream(self.runs[run_id], after), media_type="text/event-stream"
        )

    async def _stream(self, run: DoubleRun, position: int) -> AsyncGenerator[str]:
        cut, sent = self.cut_stream_after, 0
        yield ": hello\n\nevent: greeting\ndata: {}\n\n"
        while not (run.final() and position >= run.fields["version"]):
            for event in [event for event in run.events if event["version"] > position]:
                position = event["version"]
                yield f"id: {position}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n"
                sent += 1
                if sent == cut:
                    return
            await self._wait(lambda at=position: run.fields["version"] > at, 1.0)

    async def _poll(self, seen: Seen) -> Response:
        service = seen.query["service"]
        if service not in self.offered:
            return problem(410, "register_again", "This service is not known.")
        functions = seen.query["functions"].split(",")

        def mine() -> list[dict[str, Any]]:
            return [
                call
                for call in self.waiting
                if call["service"] == service and call["function"] in functions
            ][: int(seen.query["limit"])]

        await self._wait(lambda: bool(mine()), float(seen.query["wait"]))
        with self._news:
            calls = mine()
            self.waiting = [call for call in self.waiting if call not in calls]
        return JSONResponse(calls)

    async def _beat(self, seen: Seen, call_id: str) -> Response:
        if call_id in self.superseded:
            return problem(409, "superseded", "Somebody else has the call.")
        self.beats[call_id] = self.beats.get(call_id, 0) + 1
        return JSONResponse({"cancelled": call_id in self.cancelled_calls})

    async def _result(self, seen: Seen, call_id: str) -> Response:
        if call_id in self.superseded:
            return problem(409, "superseded", "Somebody else has the call.")
        with self._news:
            self.results.setdefault(call_id, []).append(seen.body)
            self._news.notify_all()
        return Response(status_code=204)

    async def _blob(self, seen: Seen, call_id: str) -> Response:
        if call_id in self.superseded:
            return problem(409, "superseded", "Somebody else has the call.")
        self.blobs.append(seen.body)
        return JSONResponse({"id": f"blob-{len(self.blobs)}"}, 201)

    async def _lost(self, seen: Seen, machine_id: str) -> Response:
        return Response(status_code=204)

    async def _wait(self, condition: Callable[[], bool], seconds: float) -> None:
        for _ in range(int(seconds / 0.005)):
            if condition():
                return
            await asyncio.sleep(0.005)


def problem(status: int, code: str, detail: str) -> Response:
    body = {"type": "about:blank", "title": code, "status": status, "code": code, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")


_RUN: dict[str, Any] = {
    "clusterId": CLUSTER,
    "name": "a run",
    "status": "pending",
    "turn": 1,
    "version": 1,
    "transition": 1,
    "modelIdentifier": "scripted/inline",
    "aFieldOfTomorrow": True,
}
_CALL: dict[str, Any] = {"runId": "run-1", "attempt": 1, "timeoutSeconds": 30}
