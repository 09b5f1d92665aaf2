"""Stands for the API: answers `/ready` by whether a worker has said that it is up."""

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


def main() -> None:
    address = (os.environ["PERDURE_HOST"], int(os.environ["PERDURE_PORT"]))
    sys.stderr.write(
        f"stand-in API at {address}, temporal {os.environ['PERDURE_TEMPORAL_ADDRESS']}\n"
    )
    with ThreadingHTTPServer(address, Handler) as server:
        server.serve_forever()


main()
