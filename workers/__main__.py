"""A Temporal worker process: `python -m workers`. Any number of them may run."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import suppress
from datetime import timedelta

import uvloop
from temporalio.client import Client
from temporalio.worker import PollerBehaviorSimpleMaximum, Worker

from orchestrator.activity_interface import WEBHOOK_QUEUE
from orchestrator.logs import configure_logging
from orchestrator.prices import parse_prices
from orchestrator.registry import parse_policies
from orchestrator.settings import Settings
from orchestrator.store.store import Store, open_store
from orchestrator.temporal import TASK_QUEUE, Temporal, connect, workflow_runner
from orchestrator.webhooks import Webhooks
from orchestrator.workflow import DeliverWorkflow, RunWorkflow
from workers.activities import Activities
from workers.models import Models, open_models
from workers.names import Namer
from workers.small_models import SmallModels
from workers.summaries import Summarizer
from workers.sweeper import Sweeper
from workers.thinking import Thinker
from workers.webhook_delivery import WebhookDelivery
from workers.webhooks import WebhookSender

_log = logging.getLogger("workers")
_POLLERS = 20
"""Measured: 20 pollers bring 12 % more runs per second than the default of 5."""
_STICKY_TIMEOUT = timedelta(seconds=3)
"""How long a run waits for a worker that was killed before another one takes it; the default of 10 s is felt."""
_GRACE = timedelta(seconds=20)
_CONNECT_PAUSE = 0.5
_WEBHOOKS_AT_ONCE = 100


def build_worker(client: Client, activities: Activities, settings: Settings) -> Worker:
    """The Temporal worker for all of the product's workflows and activities."""
    return Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[RunWorkflow, DeliverWorkflow],
        activities=[
            activities.think,
            activities.summarize,
            activities.look,
            activities.settle,
            activities.next_deliveries,
        ],
        workflow_runner=workflow_runner(),
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
        max_concurrent_activities=_WEBHOOKS_AT_ONCE,
        graceful_shutdown_timeout=_GRACE,
    )


def build_activities(
    store: Store, models: Models, namer: Namer, temporal: Temporal, settings: Settings
) -> Activities:
    """The activities, composed from the settings."""
    thinker = Thinker(
        store,
        models,
        namer,
        max_output_tokens=settings.max_output_tokens,
        policies=tuple(parse_policies(settings.scripted_policies)),
        prices=parse_prices(settings.model_prices),
    )
    return Activities(store, thinker, Summarizer(store, namer.small_models), temporal)


def build_small_models(store: Store, models: Models, settings: Settings) -> SmallModels:
    """The models for summaries and names, as the settings choose."""
    return SmallModels(
        store,
        models,
        model=settings.small_model,
        policies=tuple(parse_policies(settings.scripted_policies)),
        prices=parse_prices(settings.model_prices),
    )


def _retention(settings: Settings) -> timedelta | None:
    days = settings.retention_days
    return None if days is None else timedelta(days=days)


async def _connected(settings: Settings, stop: asyncio.Event) -> Client | None:
    """Connect, however long it takes until Temporal answers; say once that it does not. None: stopped before."""
    said = False
    while not stop.is_set():
        try:
            return await connect(settings)
        except RuntimeError as error:
            if not said:
                _log.warning("waiting for Temporal at %s: %s", settings.temporal_address, error)
                said = True
            await asyncio.sleep(_CONNECT_PAUSE)
    return None


async def work(settings: Settings, stop: asyncio.Event) -> None:
    """Be a worker until `stop` is set, then finish what was begun."""
    client = await _connected(settings, stop)
    if client is None:
        return
    store = await open_store(settings.store_url, listen_url=settings.database_listen_url)
    models = open_models(settings)
    namer = Namer(store, build_small_models(store, models, settings))
    temporal = Temporal(settings, client)
    sweeper = Sweeper(
        store, temporal, seconds=settings.sweep_seconds, retention=_retention(settings)
    )
    sender = WebhookSender(settings.webhook_rules)
    activities = build_activities(store, models, namer, temporal, settings)
    delivery = WebhookDelivery(store, Webhooks(store, settings), sender)
    try:
        async with (
            build_worker(client, activities, settings),
            build_webhook_worker(client, delivery),
        ):
            sweeping = asyncio.create_task(sweeper.run())
            _log.info("working on %s, model %s", settings.temporal_address, settings.model)
            await stop.wait()
            sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await sweeping
    finally:
        await namer.aclose()
        await sender.aclose()
        await models.aclose()
        await store.aclose()


async def _main() -> None:
    settings = Settings()
    configure_logging(settings, "workers")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    await work(settings, stop)


if __name__ == "__main__":
    uvloop.run(_main())
