"""A Temporal worker process: `python -m workers`. Any number of them may run."""

from __future__ import annotations

if __name__ == "__main__":
    # Imported modules stay, so garbage collection during imports is wasted: a fifth of their time.
    import gc

    gc.disable()

import asyncio
import logging
import math
import os
import platform
import signal
import time
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import uvloop
from temporalio.client import Client
from temporalio.worker import PollerBehaviorSimpleMaximum, Worker

from orchestrator.errors import NotFoundError
from orchestrator.llm.model_names import parse_policies
from orchestrator.llm.price_list import parse_prices
from orchestrator.operations.crash_recovery import CrashRecovery
from orchestrator.operations.webhooks import Webhooks
from orchestrator.runtime.encryption import FieldCipher
from orchestrator.runtime.logs import configure_logging
from orchestrator.runtime.process import MisconfiguredError, collect_garbage_again, run_to_the_end
from orchestrator.settings import Settings, read_settings
from orchestrator.store.migrations.runner import NewerDatabaseError
from orchestrator.store.store import Store, open_store
from orchestrator.temporal.activity_tasks import ActivityTaskClient
from orchestrator.temporal.client import BUILD_ID, TASK_QUEUE, Temporal, connect, workflow_runner
from orchestrator.temporal.in_flight_journal import InFlightJournal, Machine, journal_scope
from orchestrator.temporal.signals import WakeupSender
from orchestrator.workflows.delivery_workflow import DeliveryWorkflow
from orchestrator.workflows.interface import WEBHOOK_QUEUE
from orchestrator.workflows.run_workflow import RunWorkflow
from workers.activities import Activities
from workers.hosting.host import HostedFunctions
from workers.hosting.task_queues import build_hosting_workers
from workers.model_step.auxiliary_model import AuxiliaryModel
from workers.model_step.model_step import ModelStepRunner
from workers.model_step.run_naming import RunNamer
from workers.model_step.summarizer import Summarizer
from workers.models import Models, open_models
from workers.recovery.in_flight import InFlightInterceptor
from workers.recovery.store_outage import StoreOutageInterceptor
from workers.recovery.temporal_outage import TemporalOutageMonitor
from workers.sweeper import Sweeper
from workers.webhooks.delivery import WebhookDelivery
from workers.webhooks.sender import WebhookSender

if TYPE_CHECKING:
    from perdure.hosting import Host

_log = logging.getLogger("workers")
_POLLERS = 20
"""Measured: 20 pollers give 12 % more runs per second than the default of 5."""
_STICKY_TIMEOUT = timedelta(seconds=2)
"""Seconds after which another worker takes a run of a killed one; the default of 10 s is noticeable."""
_GRACE = timedelta(seconds=20)
_CONNECT_PAUSE = 0.1
_LOG_AFTER = 2.0
"""Seconds without Temporal before it is logged; a server that is starting needs a few."""
_MAX_CONCURRENT_WEBHOOKS = 100
_HOSTED = "PERDURE_HOSTED_FUNCTIONS (`perdure dev --hosted`)"
_HOSTED_CURE = (
    "Name services as `module:name`, importable from the folder where the process starts."
)


def build_worker(client: Client, activities: Activities, settings: Settings) -> Worker:
    """The Temporal worker for all of the product's workflows and activities."""
    return Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[RunWorkflow, DeliveryWorkflow],
        activities=[
            activities.run_model_step,
            activities.summarize,
            activities.read_pending_requests,
            activities.end_turn,
            activities.list_due_deliveries,
        ],
        workflow_runner=workflow_runner(),
        build_id=BUILD_ID,
        max_cached_workflows=settings.max_cached_workflows,
        max_concurrent_activities=settings.max_concurrent_model_calls,
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(_POLLERS),
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(_POLLERS),
        sticky_queue_schedule_to_start_timeout=_STICKY_TIMEOUT,
        max_heartbeat_throttle_interval=timedelta(seconds=3),
        default_heartbeat_throttle_interval=timedelta(seconds=3),
        graceful_shutdown_timeout=_GRACE,
    )


def build_webhook_worker(client: Client, delivery: WebhookDelivery) -> Worker:
    """The Temporal worker for webhooks: slots of its own, so that slow receivers take none from the runs."""
    return Worker(
        client,
        task_queue=WEBHOOK_QUEUE,
        activities=[delivery.deliver_webhook],
        build_id=BUILD_ID,
        max_concurrent_activities=_MAX_CONCURRENT_WEBHOOKS,
        graceful_shutdown_timeout=_GRACE,
    )


def _load_host(targets: str) -> Host:
    # Only a process that hosts functions imports the function worker.
    from perdure.hosting import ConfigurationError, Host  # noqa: PLC0415 - see above

    try:
        return Host.load(targets)
    except ConfigurationError as error:
        raise MisconfiguredError(f"{_HOSTED}: {error} {_HOSTED_CURE}") from error
    except Exception as error:
        _log.exception("the module of a hosted service cannot be imported")
        raise MisconfiguredError(
            f"{_HOSTED}: importing {targets!r} raised {error!r}. {_HOSTED_CURE}"
        ) from error


async def open_hosted_functions(store: Store, settings: Settings) -> HostedFunctions | None:
    """The functions that this process hosts by its settings, if any.

    Raises `MisconfiguredError` for an unknown cluster, and for services that do not exist or cannot be imported.
    """
    if not settings.hosted_functions:
        return None
    host = _load_host(settings.hosted_functions)
    cluster_id = settings.hosted_cluster
    if cluster_id is None:
        cluster_id = await store.keys.ensure_cluster("default")
    try:
        await store.clusters.get(cluster_id)
    except NotFoundError as error:
        raise MisconfiguredError(
            f"PERDURE_HOSTED_CLUSTER: there is no cluster {cluster_id!r}. Give the id of one, or leave it unset."
        ) from error
    machine_id = f"{platform.node() or 'host'}-{os.getpid()}-hosted-{token_hex(4)}"
    return HostedFunctions(store, host, cluster_id=cluster_id, machine_id=machine_id)


def build_activities(
    store: Store,
    models: Models,
    run_namer: RunNamer,
    settings: Settings,
    *,
    hosting: HostedFunctions | None = None,
) -> Activities:
    """The activities, composed from the settings."""
    step_runner = ModelStepRunner(
        store,
        models,
        run_namer,
        max_output_tokens=settings.max_output_tokens,
        policies=tuple(parse_policies(settings.scripted_policies)),
        prices=parse_prices(settings.model_prices),
    )
    return Activities(store, step_runner, Summarizer(store, run_namer.auxiliary_model), hosting)


def build_auxiliary_model(store: Store, models: Models, settings: Settings) -> AuxiliaryModel:
    """The models for summaries and names, as the settings choose."""
    return AuxiliaryModel(
        store,
        models,
        model=settings.small_model,
        policies=tuple(parse_policies(settings.scripted_policies)),
        prices=parse_prices(settings.model_prices),
    )


def _retention(settings: Settings) -> timedelta | None:
    days = settings.retention_days
    return None if days is None else timedelta(days=days)


def build_crash_recovery(store: Store, temporal: Temporal, settings: Settings) -> CrashRecovery:
    """The recovery of tasks of processes that died on this machine."""
    activity_tasks = ActivityTaskClient(temporal, "lost-tasks")
    return CrashRecovery(
        settings.task_folder, journal_scope(settings), activity_tasks, store.lost_leases
    )


async def _connected(parts: _Parts, stop: asyncio.Event) -> Client | None:
    """Connect to Temporal, without a time limit; log once if it does not answer. None: stopped before."""
    settings, patience = parts.settings, time.monotonic() + _LOG_AFTER
    while not stop.is_set():
        try:
            return await connect(
                settings,
                interceptors=[parts.in_flight, StoreOutageInterceptor()],
                identity=parts.process,
            )
        except RuntimeError as error:
            if time.monotonic() > patience:
                _log.warning("waiting for Temporal at %s: %s", settings.temporal_address, error)
                patience = math.inf
            await asyncio.sleep(_CONNECT_PAUSE)
    return None


@asynccontextmanager
async def _beside(*loops: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Background tasks that run inside the block."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """The parts of a worker that do not need Temporal."""

    settings: Settings
    store: Store
    hosted_functions: HostedFunctions | None
    models: Models
    run_namer: RunNamer
    in_flight: InFlightInterceptor
    process: str
    """Its Temporal identity."""

    def activities(self) -> Activities:
        return build_activities(
            self.store, self.models, self.run_namer, self.settings, hosting=self.hosted_functions
        )


async def _opened(settings: Settings, stack: AsyncExitStack) -> _Parts:
    """Open what does not need Temporal; `stack` closes it. Raises `MisconfiguredError`."""
    journal = InFlightJournal.from_settings(settings)
    stack.callback(journal.close)
    try:
        store = await open_store(
            settings.store_url,
            listen_url=settings.database_listen_url,
            cipher=FieldCipher.from_key(settings.payload_key),
            plain_sql=settings.plain_sql,
        )
        stack.push_async_callback(store.aclose)
        models = open_models(settings)
        stack.push_async_callback(models.aclose)
        run_namer = RunNamer(store, build_auxiliary_model(store, models, settings))
    except (NewerDatabaseError, ValueError) as error:
        raise MisconfiguredError(str(error)) from error
    stack.push_async_callback(run_namer.aclose)
    hosting = await open_hosted_functions(store, settings)
    if hosting is not None:
        journal.machine = Machine(hosting.cluster_id, hosting.machine_id)
    return _Parts(
        settings=settings,
        store=store,
        hosted_functions=hosting,
        models=models,
        run_namer=run_namer,
        in_flight=InFlightInterceptor(journal),
        process=journal.process,
    )


async def work(settings: Settings, stop: asyncio.Event) -> None:
    """Run a worker until `stop` is set, then finish running tasks. Raises `MisconfiguredError`."""
    async with AsyncExitStack() as stack:
        parts = await _opened(settings, stack)
        collect_garbage_again()
        client = await _connected(parts, stop)
        if client is not None:
            await _work(parts, client, stop)


async def _work(parts: _Parts, client: Client, stop: asyncio.Event) -> None:
    settings, store, hosting = parts.settings, parts.store, parts.hosted_functions
    temporal = Temporal(settings, client)
    sweeper = Sweeper(
        store, temporal, seconds=settings.sweep_seconds, retention=_retention(settings)
    )
    crash_recovery = build_crash_recovery(store, temporal, settings)
    outage_monitor = TemporalOutageMonitor(
        temporal, ActivityTaskClient(temporal, "temporal-watch"), parts.in_flight
    )
    async with AsyncExitStack() as working:
        wakeups = WakeupSender(temporal)
        working.push_async_callback(wakeups.aclose)
        store.database.on_wakeups = wakeups.send
        sender = WebhookSender(settings.webhook_rules)
        working.push_async_callback(sender.aclose)
        if hosting is not None:
            # The crashes of predecessors are counted before anything begins.
            await crash_recovery.recover_orphaned()
            await working.enter_async_context(hosting.registered())
            for worker in build_hosting_workers(client, hosting):
                await working.enter_async_context(worker)
        delivery = WebhookDelivery(store, Webhooks(store, settings), sender)
        await working.enter_async_context(build_webhook_worker(client, delivery))
        await working.enter_async_context(build_worker(client, parts.activities(), settings))
        await working.enter_async_context(
            _beside(sweeper.run(), crash_recovery.run(), outage_monitor.run())
        )
        _log.info("working on %s, model %s", settings.temporal_address, settings.model)
        await stop.wait()


async def _main() -> None:
    settings = read_settings()
    configure_logging("workers", level=settings.log_level, log_format=settings.log_format)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    await work(settings, stop)


if __name__ == "__main__":
    run_to_the_end(lambda: uvloop.run(_main()))
