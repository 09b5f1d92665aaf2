"""A local server that speaks Anthropic's dialect and refuses what the real API refuses.

It answers from a script that is found by the conversation itself, so parallel runs do not disturb each other: either a
function given to the constructor, or the first user text, when that is a JSON list in which the n-th entry answers
the request with n assistant messages. An entry is a message or a mishap::

    {"text": "…"}  {"thinking": "…", "signature": "…"}  {"tool_use": "name", "input": {…}}   one block
    {"content": [block, …], "stop_reason": "…", "usage": {…}}                                a whole message
    {"status": 429, "headers": {…}, "error": {"type": "…", "message": "…"}, "times": 1}      an error instead
    {"cut": 3, …}       the connection breaks after so many events of the message
    {"end": 3, …}       the stream ends properly, but after so many events
    {"event_error": {"type": "overloaded_error", "message": "…"}, …}    an error inside the stream
    {"silent": true} or {"silent": true, "pings": 5}                    headers, pings, and then nothing

`python -m tests.support.anthropic_server --port 8123 [--script file.json] [--record file.jsonl]` serves it alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from tests.support.anthropic_rules import violations

Body = dict[str, Any]
Entry = Mapping[str, Any]
Script = Callable[[Body], Entry]
Receive = Callable[[], Any]
Send = Callable[[Mapping[str, Any]], Any]


def prompted(body: Body) -> Entry:
    """The script that the conversation carries in its own first text."""
    first = body["messages"][0]["content"]
    text = (
        first if isinstance(first, str) else next(b["text"] for b in first if b["type"] == "text")
    )
    return entry_of(json.loads(text), body)


def entry_of(script: list[Entry], body: Body) -> Entry:
    """The entry for this request: the one with the number of assistant messages so far."""
    number = sum(message["role"] == "assistant" for message in body["messages"])
    if number >= len(script):
        return {"status": 400, "error": {"type": "invalid_request_error", "message": "script over"}}
    return script[number]


@dataclass
class AnthropicServer:
    """What was asked of it is in `requests`; `disconnected` is set when a client leaves before the end."""

    script: Script = prompted
    requests: list[Body] = field(default_factory=list[Body])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    record: Path | None = None
    url: str = ""

    def forget(self) -> None:
        """Be as new, at the same address."""
        self.script = prompted
        self.requests, self.headers = [], []
        self.disconnected, self.answering = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        body: Body = json.loads(await _read(receive))
        problem = _problem(scope, headers, body)
        self._record(headers, body)
        self.answering.set()
        if problem is not None:
            await _refuse(send, *problem)
            return
        entry = self.script(body)
        if "status" in entry and self._still(entry, body):
            await _refuse(send, entry["status"], entry.get("error", {}), entry.get("headers", {}))
            return
        await self._stream(entry, body, receive, send)

    def _record(self, headers: dict[str, str], body: Body) -> None:
        self.headers.append(headers)
        self.requests.append(body)
        if self.record is not None:
            with self.record.open("a") as file:
                file.write(json.dumps(body) + "\n")

    def _still(self, entry: Entry, body: Body) -> bool:
        """An error with `times` passes after so many tries of the same conversation."""
        asked = sum(other["messages"] == body["messages"] for other in self.requests)
        return asked <= entry.get("times", asked)

    async def _stream(self, entry: Entry, body: Body, receive: Receive, send: Send) -> None:
        await send(_start(200, {"content-type": "text/event-stream", "request-id": "req_1"}))
        for number, event in enumerate(_events(entry, body)):
            if number >= entry.get("cut", sys.maxsize):
                raise ConnectionResetError("cut as the script wants it")
            if number >= entry.get("end", sys.maxsize):
                break
            await send(_chunk(event))
        if "event_error" in entry:
            await send(_chunk({"type": "error", "error": entry["event_error"]}))
        if entry.get("silent"):
            while (await receive())["type"] != "http.disconnect":
                pass
            self.disconnected.set()
            return
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def serving(server: AnthropicServer, port: int = 0) -> AsyncGenerator[AnthropicServer]:
    """Serve on loopback while the block runs; port 0 takes any that is free."""
    listening = socket.create_server(("127.0.0.1", port))
    server.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config = uvicorn.Config(
        server, lifespan="off", ws="none", log_level="critical", timeout_graceful_shutdown=1
    )
    uvicorn_server = uvicorn.Server(config)
    task = asyncio.create_task(uvicorn_server.serve(sockets=[listening]))
    try:
        yield server
    finally:
        uvicorn_server.should_exit = True
        await task
        listening.close()


async def _read(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def _problem(
    scope: Mapping[str, Any], headers: Mapping[str, str], body: Body
) -> tuple[int, Mapping[str, str], Mapping[str, str]] | None:
    if (scope["method"], scope["path"]) != ("POST", "/v1/messages"):
        return 404, {"type": "not_found_error", "message": scope["path"]}, {}
    key = headers.get("authorization", "").removeprefix("Bearer ")
    if not key or key.endswith("wrong"):
        said = f"invalid credentials: {key}"
        return 401, {"type": "authentication_error", "message": said}, {}
    found = violations(body, headers)
    if found:
        return 400, {"type": "invalid_request_error", "message": "; ".join(found)}, {}
    return None


async def _refuse(
    send: Send, status: int, error: Mapping[str, Any], headers: Mapping[str, str]
) -> None:
    await send(_start(status, {"content-type": "application/json", **headers}))
    body = json.dumps({"type": "error", "error": error, "request_id": "req_1"})
    await send({"type": "http.response.body", "body": body.encode()})


def _start(status: int, headers: Mapping[str, str]) -> dict[str, Any]:
    pairs = [(key.encode(), value.encode()) for key, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}


def _chunk(event: Mapping[str, Any]) -> dict[str, Any]:
    data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
    return {"type": "http.response.body", "body": data.encode(), "more_body": True}


def _events(entry: Entry, body: Body) -> Iterator[Mapping[str, Any]]:
    """The events of a message as the API streams them; a silent or erring one stops before its end."""
    blocks = [_block(part) for part in entry.get("content", [entry])]
    calls = any(block["type"] == "tool_use" for block in blocks)
    usage = {"input_tokens": 10, "output_tokens": 5, **entry.get("usage", {})}
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": 1},
    }
    yield {"type": "message_start", "message": message}
    yield from [{"type": "ping"}] * entry.get("pings", 1)
    if entry.get("silent"):
        return
    for index, block in enumerate(blocks):
        yield from _block_events(index, block)
    if "event_error" in entry:
        return
    delta = {
        "stop_reason": entry.get("stop_reason", "tool_use" if calls else "end_turn"),
        "stop_sequence": None,
        "stop_details": entry.get("stop_details"),
    }
    ended = {"output_tokens": usage["output_tokens"]}
    yield {"type": "message_delta", "delta": delta, "usage": ended}
    yield {"type": "message_stop"}


def _block(part: Entry) -> dict[str, Any]:
    if "type" in part:
        return dict(part)
    if "thinking" in part:
        return {"type": "thinking", "thinking": part["thinking"], "signature": part["signature"]}
    if "tool_use" in part:
        call_id = part.get("id", f"toolu_{part['tool_use']}")
        return {
            "type": "tool_use",
            "id": call_id,
            "name": part["tool_use"],
            "input": part.get("input", {}),
        }
    return {"type": "text", "text": part.get("text", "")}


def _block_events(index: int, block: dict[str, Any]) -> Iterator[Mapping[str, Any]]:
    empty, deltas = _pieces(block)
    yield {"type": "content_block_start", "index": index, "content_block": empty}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def _pieces(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it is begun, and the deltas that complete it."""
    match block["type"]:
        case "text":
            halves = _halves(block["text"])
            deltas = [{"type": "text_delta", "text": half} for half in halves]
            return {**block, "text": ""}, deltas
        case "thinking":
            deltas = [
                {"type": "thinking_delta", "thinking": half} for half in _halves(block["thinking"])
            ]
            signature = {"type": "signature_delta", "signature": block["signature"]}
            return {**block, "thinking": "", "signature": ""}, [*deltas, signature]
        case "tool_use":
            partial = block.get("partial_json", json.dumps(block["input"]))
            deltas = [
                {"type": "input_json_delta", "partial_json": half} for half in _halves(partial)
            ]
            return {**block, "input": {}}, deltas
        case _:
            return block, []


def _halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [half for half in (text[:middle], text[middle:]) if half]


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--script", type=Path, help="JSON list of entries; default: the prompt is one"
    )
    parser.add_argument(
        "--record", type=Path, help="a file that takes each request as a line of JSON"
    )
    options = parser.parse_args()
    server = AnthropicServer(record=options.record)
    if options.script:
        entries = json.loads(options.script.read_text())
        server.script = lambda body: entry_of(entries, body)
    async with serving(server, options.port):
        sys.stdout.write(json.dumps({"url": server.url}) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
