"""Hosted functions played in the test's own process: the worker's activities over a store, and scripts for the model."""

from __future__ import annotations

import json
from typing import Any

from pydantic import JsonValue
from temporalio.testing import ActivityEnvironment

from orchestrator.settings import Settings
from orchestrator.workflows.interface import ModelStepInput, RunRef, RunState
from perdure import Service
from perdure.hosting import Host
from tests.support.stage import Stage
from workers.activities import Activities
from workers.hosting.host import HostedFunctions
from workers.model_step.auxiliary_model import AuxiliaryModel
from workers.model_step.model_step import ModelStepRunner
from workers.model_step.summarizer import Summarizer
from workers.models import open_models

MACHINE = "the-worker"


def hosting_of(stage: Stage, service: Service, *, look_seconds: float = 4.0) -> HostedFunctions:
    return HostedFunctions(
        stage.store,
        Host([service]),
        cluster_id=stage.cluster_id,
        machine_id=MACHINE,
        watch_seconds=look_seconds,
    )


def activities_of(stage: Stage, hosting: HostedFunctions | None) -> Activities:
    settings = Settings(anthropic_api_key=None, default_model="scripted/inline")
    models = open_models(settings)
    small = AuxiliaryModel(stage.store, models, model=None)
    step_runner = ModelStepRunner(stage.store, models, max_output_tokens=1_000)
    return Activities(stage.store, step_runner, Summarizer(stage.store, small), hosting)


def script(*steps: JsonValue) -> str:
    return json.dumps(list(steps))


def call(function: str, **given: JsonValue) -> dict[str, JsonValue]:
    return {"calls": [{"function": f"here_{function}", "input": given}]}


async def think(
    stage: Stage,
    hosting: HostedFunctions | None,
    ref: RunRef,
    environment: ActivityEnvironment | None = None,
) -> RunState:
    return await run_step_with(activities_of(stage, hosting), ref, environment)


async def run_step_with(
    activities: Activities, ref: RunRef, environment: ActivityEnvironment | None = None
) -> RunState:
    environment = environment or ActivityEnvironment()
    state: RunState = await environment.run(activities.run_model_step, ModelStepInput(ref))
    return state


async def results(stage: Stage, ref: RunRef) -> list[Any]:
    return [
        data["result"] for kind, data in await stage.messages(ref) if kind == "invocation-result"
    ]
