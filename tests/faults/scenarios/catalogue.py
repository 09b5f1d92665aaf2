"""All scenarios by name."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.checker.outcome import Outcome
from tests.faults.ground.load import Scale
from tests.faults.ground.postgres import killable_postgres
from tests.faults.scenarios.absence import nobody_offers
from tests.faults.scenarios.asking import requests_under_kills
from tests.faults.scenarios.deployments import changed_workflow
from tests.faults.scenarios.disk import disk_full
from tests.faults.scenarios.kills import (
    VICTIMS,
    kill_at_random,
    kill_each_time,
    kill_hosting_workers,
    kill_postgres,
    roll_over,
)
from tests.faults.scenarios.mishaps import model_in_trouble
from tests.faults.scenarios.networks import LINKS, bad_link
from tests.faults.scenarios.outages import (
    freeze_each,
    frozen_functions,
    temporal_away,
)
from tests.faults.scenarios.poison import poison
from tests.faults.scenarios.results import large_results
from tests.faults.scenarios.scale import LARGE, SMALL, idle_stack, long_run, long_talk
from tests.faults.scenarios.scale_waiting import many_waiting, many_waiting_on_postgresql
from tests.faults.scenarios.tenancy import two_tenants

Scenario = Callable[[Path, Scale], Coroutine[Any, Any, Outcome]]


async def _on_postgresql(
    scenario: Callable[..., Coroutine[Any, Any, Outcome]], folder: Path, scale: Scale
) -> Outcome:
    """The same with the store in PostgreSQL."""
    with killable_postgres() as postgres:
        outcome = await scenario(folder, scale, database_url=postgres.url)
    return replace(outcome, scenario=f"{outcome.scenario}, store in PostgreSQL")


SCENARIOS: Mapping[str, Scenario] = {
    **{f"kill-{victim}": partial(kill_each_time, victim) for victim in VICTIMS},
    "kill-postgres": kill_postgres,
    "kill-at-random": kill_at_random,
    "kill-at-random-on-postgresql": partial(_on_postgresql, kill_at_random),
    "kill-workers-hosted": kill_hosting_workers,
    "kill-at-random-hosted": partial(kill_at_random, hosted=True),
    "requests-under-kills": requests_under_kills,
    "requests-under-kills-hosted": partial(requests_under_kills, hosted=True),
    "two-tenants": two_tenants,
    "rolling-restarts": roll_over,
    "changed-workflow": changed_workflow,
    "temporal-away": temporal_away,
    "frozen-functions": frozen_functions,
    "frozen-hosted": partial(frozen_functions, hosted=True),
    "no-function-worker": nobody_offers,
    "freeze-each": freeze_each,
    "large-results": large_results,
    "model-in-trouble": model_in_trouble,
    "poison": poison,
    "poison-hosted": partial(poison, hosted=True),
    "poison-hosted-on-postgresql": partial(_on_postgresql, partial(poison, hosted=True)),
    **{f"link-{link.replace(' ', '-').lower()}": partial(bad_link, link) for link in LINKS},
    "disk-full": disk_full,
    "idle-stack": idle_stack,
    "long-run": partial(long_run, SMALL),
    "long-run-large-results": partial(long_run, LARGE),
    "long-talk": long_talk,
    "many-waiting": many_waiting,
    "many-waiting-on-postgresql": many_waiting_on_postgresql,
}
