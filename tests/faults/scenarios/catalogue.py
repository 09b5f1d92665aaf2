"""All scenarios by name."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.load import Scale
from tests.faults.outcome import Outcome
from tests.faults.scenarios.disk import disk_full
from tests.faults.scenarios.kills import (
    VICTIMS,
    kill_at_random,
    kill_each_time,
    kill_postgres,
    roll_over,
)
from tests.faults.scenarios.mishaps import model_in_trouble
from tests.faults.scenarios.networks import LINKS, bad_link
from tests.faults.scenarios.outages import (
    freeze_each,
    frozen_functions,
    nobody_offers,
    temporal_away,
)
from tests.faults.scenarios.poison import poison
from tests.faults.scenarios.results import large_results

Scenario = Callable[[Path, Scale], Coroutine[Any, Any, Outcome]]

SCENARIOS: Mapping[str, Scenario] = {
    **{f"kill-{victim}": partial(kill_each_time, victim) for victim in VICTIMS},
    "kill-postgres": kill_postgres,
    "kill-at-random": kill_at_random,
    "rolling-restarts": roll_over,
    "temporal-away": temporal_away,
    "frozen-functions": frozen_functions,
    "no-function-worker": nobody_offers,
    "freeze-each": freeze_each,
    "large-results": large_results,
    "model-in-trouble": model_in_trouble,
    "poison": poison,
    **{f"link-{link.replace(' ', '-').lower()}": partial(bad_link, link) for link in LINKS},
    "disk-full": disk_full,
}
