"""The processes of a benchmark: the embedded stack, the raw loop's worker, a function worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_PERDURE = Path(sys.executable).with_name("perdure")


@dataclass(frozen=True, slots=True)
class Stack:
    """Where everything is."""

    url: str
    api_key: str
    cluster_id: str
    temporal_address: str
    state_dir: Path
    processes: dict[str, int]
    """Name -> process id."""


@contextmanager
def running_stack(*, hosted: str | None = None) -> Generator[Stack]:
    """`perdure dev` in a fresh folder, with a worker for the raw loop and one for the benchmark's function."""
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        state = Path(folder)
        command = [str(_PERDURE), "dev", "--json", "--port", "0", "--state-dir", str(state)]
        if hosted:
            command += ["--functions", hosted]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PERDURE_")}
        with _child("dev", command, environment) as dev:
            facts = json.loads(_line(dev))
            reach = environment | {
                "PERDURE_URL": facts["url"],
                "PERDURE_API_KEY": facts["apiKey"],
                "PERDURE_CLUSTER_ID": facts["clusterId"],
            }
            raw_command = [sys.executable, "-m", "benchmarks.raw_loop", facts["temporalAddress"]]
            with (
                _child("raw loop", raw_command, environment) as raw,
                _child("functions", [sys.executable, "-m", "benchmarks.functions"], reach) as own,
            ):
                _line(raw)
                processes = {
                    one["name"]: one["pid"]
                    for one in json.loads((state / "processes.json").read_text())
                }
                yield Stack(
                    url=facts["url"],
                    api_key=facts["apiKey"],
                    cluster_id=facts["clusterId"],
                    temporal_address=facts["temporalAddress"],
                    state_dir=state,
                    processes=processes | {"raw loop worker": raw.pid, "function worker": own.pid},
                )


@contextmanager
def _child(
    name: str, command: list[str], environment: dict[str, str]
) -> Generator[subprocess.Popen[bytes]]:
    log = tempfile.TemporaryFile()  # noqa: SIM115 # closed with the process
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log)
    try:
        yield process
    except Exception:
        log.seek(0)
        sys.stderr.write(f"--- {name} ---\n{log.read()[-4000:].decode(errors='replace')}\n")
        raise
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        if process.poll() is None:
            process.kill()
        log.close()


def _line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None  # noqa: S101 # opened above
    line = process.stdout.readline().decode()
    if not line:
        raise RuntimeError(f"{process.args!r} ended before it was ready")
    return line


def cpu_ms(pid: int) -> float:
    """Processor time a process has used so far, in milliseconds, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Resident memory of a process in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no resident memory")
