"""Stands for the API: makes the key once, answers `/ready` by whether a worker has said that it is up."""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event

MISSING = [part for part in os.environ.get("STANDIN_MISSING", "").split(",") if part]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if "/calls" in self.path:
            Event().wait(1.0)  # no call for anybody
            self.answer(200, [])
            return
        if self.path == "/me":
            self.answer(200, {"clusterId": "default"})
            return
        missing = [*MISSING]
        if not (Path(os.environ["PERDURE_STATE_DIR"]) / "worker-was-here").exists():
            missing.append("workers")
        status = "degraded" if missing else "ok"
        self.answer(503 if missing else 200, {"status": status, "missing": missing})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.answer(200, {"clusterId": "default"})

    def answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def make_key(key_file: Path) -> None:
    if not key_file.exists():
        descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(f"sk_standin_{os.getpid()}\n")


def main(arguments: list[str]) -> None:
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    if refusal := os.environ.get("STANDIN_API_REFUSES"):
        sys.stderr.write(f"error: {refusal}\n")
        sys.exit(os.EX_CONFIG)
    make_key(Path(options["--ensure-key"]))
    address = (os.environ["PERDURE_HOST"], int(os.environ["PERDURE_PORT"]))
    sys.stderr.write(
        f"stand-in API at {address}, temporal {os.environ['PERDURE_TEMPORAL_ADDRESS']}\n"
    )
    with ThreadingHTTPServer(address, Handler) as server:
        server.serve_forever()


main(sys.argv[1:])
