"""The Temporal client: one lazy connection, workflow ids, and starting and signalling workflows."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING

from temporalio.client import (
    Client,
    Interceptor,
    TLSConfig,
    WorkflowExecutionStatus,
    WorkflowHandle,
)
from temporalio.common import Priority, WorkflowIDConflictPolicy
from temporalio.converter import DataConverter, PayloadCodec
from temporalio.service import GrpcCompression, RPCError, RPCStatusCode

from orchestrator.errors import UnavailableError
from orchestrator.settings import Settings
from orchestrator.temporal.payload_converter import CompactPayloadConverter
from orchestrator.workflows.delivery_workflow import DELIVERY_WORKFLOW
from orchestrator.workflows.function_calls import priority_key
from orchestrator.workflows.interface import WAKE_SIGNAL, RunRef
from orchestrator.workflows.run_workflow import RUN_WORKFLOW

if TYPE_CHECKING:
    from temporalio.worker import WorkflowRunner

TASK_QUEUE = "perdure"
BUILD_ID = version("perdure-server")
"""The build id of workers, stored in five history events per step. Temporal's default is a longer hash, for which it
reads the bytecode of every loaded module."""
_RPC_TIMEOUT = timedelta(seconds=5)
_WORKFLOW_TASK_TIMEOUT = timedelta(seconds=5)
"""Half of Temporal's default: a run whose worker was killed during a workflow task stalls this long. A task takes
milliseconds, and one that is dispatched again is only replayed."""


def run_workflow_id(ref: RunRef) -> str:
    """Cluster ids contain no slash, so workflow ids are unique."""
    return f"run/{ref.cluster_id}/{ref.run_id}"


def delivery_workflow_id(ref: RunRef) -> str:
    return f"deliver/{ref.cluster_id}/{ref.run_id}"


def workflow_runner() -> WorkflowRunner:
    """The workflow runner of workers: no sandbox, which took an eighth of a worker's CPU time and prevented nothing.

    The tests run and replay workflows in the sandbox; see docs/internals/decisions/0006-use-the-workflow-sandbox-in-tests-only.md.
    """
    from temporalio.worker import UnsandboxedWorkflowRunner  # noqa: PLC0415 - the API has no worker

    return UnsandboxedWorkflowRunner()


def data_converter(settings: Settings) -> DataConverter:
    """Temporal's default converter without default field values, and with encryption if a key is set."""
    return dataclasses.replace(
        DataConverter.default,
        payload_converter_class=CompactPayloadConverter,
        payload_codec=_codec(settings),
    )


def _codec(settings: Settings) -> PayloadCodec | None:
    key = settings.payload_key
    if key is None:
        return None
    # Imported only if a key is set: the packages take 7 MB.
    from orchestrator.temporal.payload_encryption import EncryptingCodec  # noqa: PLC0415 - see above

    return EncryptingCodec.from_text(key.get_secret_value())


async def connect(
    settings: Settings,
    *,
    lazy: bool = False,
    interceptors: Sequence[Interceptor] = (),
    identity: str | None = None,
) -> Client:
    """Connect as `identity` with the given settings. Not lazy: raises `RuntimeError` if Temporal does not answer.

    Messages are small by design, so compression would cost more than it saves.
    """
    key = settings.temporal_api_key
    return await Client.connect(
        settings.temporal_address,
        namespace=settings.temporal_namespace,
        api_key=None if key is None else key.get_secret_value(),
        tls=_tls(settings),
        data_converter=data_converter(settings),
        grpc_compression=GrpcCompression.NONE,
        interceptors=interceptors,
        identity=identity,
        lazy=lazy,
    )


def _tls(settings: Settings) -> bool | TLSConfig | None:
    files = (settings.temporal_tls_ca, settings.temporal_tls_cert, settings.temporal_tls_key)
    if not any(files):
        return settings.temporal_tls
    ca, cert, key = (None if path is None else path.read_bytes() for path in files)
    return TLSConfig(server_root_ca_cert=ca, client_cert=cert, client_private_key=key)


class Temporal:
    """A connection opened on first use, so that a process can start while Temporal is unavailable."""

    def __init__(self, settings: Settings, client: Client | None = None) -> None:
        self._settings = settings
        self._client = client
        self._connecting = asyncio.Lock()

    @property
    def namespace(self) -> str:
        return self._settings.temporal_namespace

    async def client(self) -> Client:
        """The client; it reconnects by itself. Its methods raise `RPCError` while Temporal is unavailable."""
        async with self._connecting:
            if self._client is None:
                try:
                    self._client = await connect(self._settings)
                except RuntimeError as error:
                    raise UnavailableError(
                        f"Temporal does not answer at {self._settings.temporal_address}."
                    ) from error
            return self._client

    async def is_reachable(self) -> bool:
        """Return whether Temporal answers now."""
        try:
            client = await self.client()
            return await client.service_client.check_health(timeout=timedelta(seconds=2))
        except (UnavailableError, RPCError):
            return False

    async def start_run(self, ref: RunRef, *, priority: int = 0) -> None:
        """Start the run's workflow unless it is running; `priority` 1 goes first, 5 last. Raises `UnavailableError`."""
        await self._start(
            RUN_WORKFLOW, run_workflow_id(ref), ref, signal=None, priority=priority_key(priority)
        )

    async def signal_run(self, ref: RunRef) -> None:
        """Signal the run's workflow that a request was written; starts it if none is open. Raises `UnavailableError`."""
        await self._start(RUN_WORKFLOW, run_workflow_id(ref), ref, signal=WAKE_SIGNAL)

    async def start_delivery(self, ref: RunRef) -> None:
        """Start the run's delivery workflow unless it is running. Raises `UnavailableError`."""
        await self._start(DELIVERY_WORKFLOW, delivery_workflow_id(ref), ref, signal=None)

    async def signal_delivery(self, ref: RunRef) -> None:
        """Signal the run's delivery workflow; starts it if none is open. Raises `UnavailableError`."""
        await self._start(DELIVERY_WORKFLOW, delivery_workflow_id(ref), ref, signal=WAKE_SIGNAL)

    async def _start(
        self,
        workflow: str,
        workflow_id: str,
        ref: RunRef,
        *,
        signal: str | None,
        priority: Priority = Priority.default,
    ) -> None:
        client = await self.client()
        try:
            await client.start_workflow(
                workflow,
                ref,
                id=workflow_id,
                task_queue=TASK_QUEUE,
                start_signal=signal,
                id_conflict_policy=WorkflowIDConflictPolicy.UNSPECIFIED
                if signal
                else WorkflowIDConflictPolicy.USE_EXISTING,
                priority=priority,
                task_timeout=_WORKFLOW_TASK_TIMEOUT,
                rpc_timeout=_RPC_TIMEOUT,
            )
        except RPCError as error:
            raise UnavailableError(
                f"Temporal did not accept the request: {error.message}"
            ) from error

    async def end_run(self, ref: RunRef) -> None:
        """Terminate the workflow and the delivery workflow of a deleted run. Raises `UnavailableError`."""
        await asyncio.gather(
            self._terminate(run_workflow_id(ref)), self._terminate(delivery_workflow_id(ref))
        )

    async def _terminate(self, workflow_id: str) -> None:
        client = await self.client()
        handle: WorkflowHandle[object, object] = client.get_workflow_handle(workflow_id)
        try:
            await handle.terminate("the run was deleted", rpc_timeout=_RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:  # it has ended or never started
                raise UnavailableError(f"Temporal does not answer: {error.message}") from error

    async def is_call_pending(self, workflow_id: str, call_id: str) -> bool:
        """Return whether the workflow still waits for the call's activity. Raises `UnavailableError`.

        A closed workflow waits for nothing, although Temporal still lists its last activities as pending.
        """
        client = await self.client()
        handle: WorkflowHandle[object, object] = client.get_workflow_handle(workflow_id)
        try:
            description = await handle.describe(rpc_timeout=_RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise UnavailableError(f"Temporal does not answer: {error.message}") from error
        if description.status is not WorkflowExecutionStatus.RUNNING:
            return False
        pending = description.raw_description.pending_activities
        return any(activity.activity_id == call_id for activity in pending)
