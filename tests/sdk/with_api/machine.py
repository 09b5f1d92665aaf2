"""A machine that works on one call the way a function worker does, against the real API."""

from __future__ import annotations

from orchestrator.workflows.interface import RunRef
from perdure import AsyncPerdure, Service
from perdure.contract import Call, RegisterMachine
from perdure.worker.api import WorkerApi
from perdure.worker.execution import CallExecution
from tests.support.stage import Stage


async def register(client: AsyncPerdure, service: Service) -> WorkerApi:
    """Have the service known to the API; the process that offers it."""
    api = WorkerApi(client.transport)
    await api.register(service.definition())
    return api


async def work(client: AsyncPerdure, stage: Stage, service: Service, call: Call) -> None:
    """Take a call as its engine would hand it out, and answer it."""
    api = WorkerApi(client.transport)
    await api.register(RegisterMachine())
    ref = RunRef(stage.cluster_id, call.run_id)
    given = await stage.lease(ref, call.id, machine=api.machine_id)
    await CallExecution(given, service.functions[call.function], api, 4.0).run()
