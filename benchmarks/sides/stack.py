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

from benchmarks.sides.postgres import Postgres

_PERDURE = Path(sys.executable).with_name("perdure")
_REPOSITORY = Path(__file__).parents[2]
HOSTED = "benchmarks.sides.hosted_functions:service"


@dataclass(frozen=True, slots=True)
class Stack:
    """Where everything is."""

    store: str
    """`sqlite` or `postgresql`."""
    database_url: str
    url: str
    api_key: str
    cluster_id: str
    temporal_address: str
    state_dir: Path
    processes: dict[str, int]
    """Name -> process id."""

    @property
    def headers(self) -> dict[str, str]:
        """What a request to the API carries."""
        return {"authorization": f"Bearer {self.api_key}"}


def stack_environment(database_url: str | None = None) -> dict[str, str]:
    """This process's environment without settings of the user's own, with the scripted model and hosted functions."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("PERDURE_", "ANTHROPIC_"))}
    given = {} if database_url is None else {"PERDURE_DATABASE_URL": database_url}
    return (
        mine
        | given
        | {
            "PYTHONPATH": f"{_REPOSITORY}:{_REPOSITORY / 'sdk/src'}",
            "PERDURE_SCRIPTED_POLICIES": "calls=benchmarks.sides.policy:calls",
            "PERDURE_HOSTED_FUNCTIONS": HOSTED,
        }
    )


def dev_command(state: Path, *more: str) -> list[str]:
    """`perdure dev` on a free port with its state there."""
    own = ("--json", "--port", "0", "--state-dir", str(state), "--ready-timeout", "240")
    return [str(_PERDURE), "dev", *own, *more]


@contextmanager
def running_stack(postgres: Postgres | None = None) -> Generator[Stack]:
    """`perdure dev` in a fresh folder, with a worker for the raw loop and one for the benchmark's function."""
    database_url = None if postgres is None else postgres.url
    others = {} if postgres is None else {"postgresql": postgres.pid}
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        state = Path(folder)
        environment = stack_environment(database_url)
        with child("dev", dev_command(state), environment) as dev:
            facts = json.loads(first_line(dev))
            with _workers(facts, environment) as own:
                yield Stack(
                    store="sqlite" if database_url is None else "postgresql",
                    database_url=database_url or f"sqlite:///{state / 'perdure.db'}",
                    url=facts["url"],
                    api_key=facts["apiKey"],
                    cluster_id=facts["clusterId"],
                    temporal_address=facts["temporalAddress"],
                    state_dir=state,
                    processes=server_processes(state) | own | others,
                )


def server_processes(state: Path) -> dict[str, int]:
    """The process ids of what `perdure dev` keeps there, by name."""
    return {one["name"]: one["pid"] for one in json.loads((state / "processes.json").read_text())}


@contextmanager
def _workers(facts: dict[str, str], environment: dict[str, str]) -> Generator[dict[str, int]]:
    """The raw loop's worker and the function worker, by name."""
    reach = environment | {
        "PERDURE_URL": facts["url"],
        "PERDURE_API_KEY": facts["apiKey"],
        "PERDURE_CLUSTER_ID": facts["clusterId"],
    }
    raw_command = [sys.executable, "-m", "benchmarks.sides.raw_loop", facts["temporalAddress"]]
    functions_command = [sys.executable, "-m", "benchmarks.sides.functions"]
    with (
        child("raw loop", raw_command, environment) as raw,
        child("functions", functions_command, reach) as functions,
    ):
        first_line(raw)
        yield {"raw_worker": raw.pid, "function_worker": functions.pid}


@contextmanager
def child(
    name: str, command: list[str], environment: dict[str, str]
) -> Generator[subprocess.Popen[bytes]]:
    """A process while the block runs; its errors are shown when the block fails."""
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


def first_line(process: subprocess.Popen[bytes]) -> str:
    """What it says first. Raises RuntimeError when it ends without a word."""
    assert process.stdout is not None  # noqa: S101 # opened above
    line = process.stdout.readline().decode()
    if not line:
        raise RuntimeError(f"{process.args!r} ended before it was ready")
    return line
