"""Stands for the Temporal workers: says that it is up, and waits for its end."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

if refusal := os.environ.get("STANDIN_WORKERS_REFUSE"):
    sys.stderr.write(f"error: {refusal}\n")
    sys.exit(os.EX_CONFIG)
if os.environ.get("STANDIN_WORKERS_CRASH"):
    sys.exit("the stand-in workers were set to crash")
(Path(os.environ["PERDURE_STATE_DIR"]) / "worker-was-here").write_text(str(os.getpid()))
sys.stdout.write("stand-in workers are up\n")
if os.environ.get("STANDIN_WORKERS_STUBBORN"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    signal.pause()
